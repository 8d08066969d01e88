"""The command line within a test: what it prints, how it ends."""

from upconv.cli import main


def run(capsys, line):
    """(status, output, errors) of a line of words."""
    status = main(line.split())
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def output(capsys, line):
    """What is printed by a line that is right."""
    status, out, err = run(capsys, line)
    assert (status, err) == (0, "")
    return out
