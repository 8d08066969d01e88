"""The environment variables, and what is said about values that make no sense."""

import sys
from pathlib import Path

import pytest

from upconv import config


def test_nothing_is_set(monkeypatch):
    for name in ("NUM_THREADS", "ISA", "CACHE_DIR", "NO_COMPILE"):
        monkeypatch.setenv(f"UPCONV_{name}", "  ")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert config.num_threads() is None
    assert config.isa() is None
    assert config.cache_directory() == Path("/somewhere/.cache/upconv")
    assert config.no_compile() is False


def test_everything_is_set(monkeypatch):
    for name, value in {"NUM_THREADS": " 4", "ISA": "AVX2", "CACHE_DIR": "~/kernels", "NO_COMPILE": "Yes"}.items():
        monkeypatch.setenv(f"UPCONV_{name}", value)
    monkeypatch.setenv("HOME", "/somewhere")
    assert config.num_threads() == 4
    assert config.isa() == "avx2"
    assert config.cache_directory() == Path("/somewhere/kernels")
    assert config.no_compile() is True


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "٣", "３", "²"])
def test_a_number_of_threads_must_be_positive(monkeypatch, value):
    monkeypatch.setenv("UPCONV_NUM_THREADS", value)
    with pytest.raises(ValueError, match=f"UPCONV_NUM_THREADS is '{value}'.*positive integer"):
        config.num_threads()


def test_forbidding_is_a_yes_or_a_no(monkeypatch):
    monkeypatch.setenv("UPCONV_NO_COMPILE", "perhaps")
    with pytest.raises(ValueError, match="UPCONV_NO_COMPILE is 'perhaps'"):
        config.no_compile()
    monkeypatch.setenv("UPCONV_NO_COMPILE", "off")
    assert config.no_compile() is False


SYSTEMS = {
    ("linux", "XDG_CACHE_HOME", "/caches"): "/caches/upconv",
    ("linux", None, None): "/somewhere/.cache/upconv",
    ("freebsd14", None, None): "/somewhere/.cache/upconv",
    ("darwin", None, None): "/somewhere/Library/Caches/upconv",
    ("darwin", "XDG_CACHE_HOME", "/caches"): "/caches/upconv",
    ("win32", "LOCALAPPDATA", "/users/me/local"): "/users/me/local/upconv/Cache",
    ("win32", "XDG_CACHE_HOME", "/caches"): "/somewhere/AppData/Local/upconv/Cache",
}


@pytest.mark.parametrize("case", SYSTEMS, ids=str)
def test_the_directory_of_caches_on_each_system(monkeypatch, case):
    platform, name, value = case
    for variable in ("UPCONV_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", "/somewhere")
    if name:
        monkeypatch.setenv(name, value)
    assert config.cache_directory() == Path(SYSTEMS[case])


def test_a_tilde_that_leads_nowhere_is_named(monkeypatch):
    monkeypatch.setenv("UPCONV_CACHE_DIR", "~nobody-of-this-name/kernels")
    with pytest.raises(ValueError, match="~nobody-of-this-name is no home directory here: give a path such as"):
        config.cache_directory()


def test_the_common_directory_of_caches_if_it_is_absolute(monkeypatch):
    monkeypatch.delenv("UPCONV_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert config.cache_directory() == Path("/caches/upconv")
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    assert config.cache_directory() == Path("/somewhere/.cache/upconv")


def test_no_home(monkeypatch):
    for name in ("UPCONV_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert config.cache_directory() is None
