// The eight steps in English: what to look at, what to predict, why each answer is right or wrong, and the rule.

const STEPS_EN = {
  steps: [
    {
      title: "Stamp",
      look: ["The input is 2 1 3, the kernel 1 3 2. Each input multiplies the whole kernel and writes the three products on the canvas, like a stamp. With stride 3 the stamps lie side by side."],
      question: "`x0` becomes 0. What changes?",
      options: [
        ["The first cell alone.", "An input writes as many cells as the kernel has taps: three."],
        ["The first three cells.", "They are the stamp of `x0`, and nothing else is written there."],
        ["All cells.", "`x1` and `x2` write elsewhere, and know nothing of `x0`."],
      ],
      rule: "An input writes: it multiplies the whole kernel and stamps the result.",
      play: "Play: change any of the three inputs and watch its stamp.",
    },
    {
      title: "Stride",
      look: ["The stride is how far each stamp starts after the one before. Now it is 3, the length of the kernel, so no stamp touches another. Soon it is 2."],
      question: "With stride 2, a 4 and a 1 land on cell 2. What does it hold?",
      options: [
        ["1, the later one.", "Nothing overwrites: what is there stays, and the new value is added."],
        ["5, their sum.", "Stamps that meet add up: 4 + 1."],
        ["2.5, their average.", "Nothing averages. That is why cells with more products come out larger."],
      ],
      rule: "Stride is the distance between stamps; where they meet, they add.",
      then: ["Stride 4", "The stamps no longer touch, and holes show between them: such an output holds the bias alone."],
      play: "Play: pull the stride from 1 to 4. The kernel never moves over the input; the stamps move apart.",
    },
    {
      title: "padding",
      look: ["Stride 2 again: the finished canvas is 2 6 5 3 5 9 6, seven cells. A blade stands at each end. With `padding=0` they cut nothing, and the output is the whole canvas."],
      question: "With `padding=1`, how long is the output?",
      options: [
        ["9", "That would be a border of zeros, as in `Conv2d`. Here nothing is put around anything."],
        ["6", "`padding` cuts at both ends, not at one."],
        ["5", "One cell is cut from each end: 6 5 3 5 9 is left."],
      ],
      rule: "padding cuts the finished canvas.",
      play: "Play: raise `padding`, or pull a blade. Once it would leave nothing, the library refuses, and says what would do.",
    },
    {
      title: "output_padding",
      look: ["`padding=1` has cut one cell from each end; hatched, they still lie on the canvas. `Conv1d` with the same numbers makes 3 both of 5 and of 6, so on the way back the layer must be told which of the two is meant."],
      question: "`output_padding` goes from 0 to 1, and one cell is added at the end. Which value does it hold?",
      options: [
        ["0", "Nothing is appended. The cell was on the canvas all the time."],
        ["9", "No edge is copied."],
        ["6", "The right blade is lifted by one, and what it had cut comes back."],
      ],
      rule: "It cuts less at the end, choosing among the sizes that Conv2d makes alike.",
      then: ["padding 0, output_padding 1", "Now nothing was cut that could come back: the last cell lies beyond the canvas, dashed, and holds the bias alone."],
      play: "Play: try `output_padding=2`. It must stay below `max(stride, dilation)`, because the next size already belongs to an input of 4.",
    },
    {
      title: "The documentation's way",
      look: [
        "The documentation says the same the other way round: put zeros between and around the inputs, turn the kernel, and read with a step of 1. With `padding=1` and `output_padding=1` the row is 0 2 0 1 0 3 0 0, and the six sums are the same six numbers.",
      ],
      question: "`Conv1d(w, s=2)` of 2 6 5 3 5 9 6: what comes out?",
      options: [
        ["[2, 1, 3]", "The same wires, walked backwards, are a transpose, which is no inverse."],
        ["[30, 24, 44]", "The size returns, 3; the values do not."],
        ["Five values.", "Sizes do return: 7 becomes 3 again."],
      ],
      rule: "Writing and reading agree; sizes come back, values do not.",
      play: "Play: choose one of the 7 cells and nudge it. The change runs down exactly the wires that write the cell here: hence the name “gradient of Conv”.",
    },
    {
      title: "dilation",
      look: ["`dilation=2` spreads the taps within each stamp: 2 · 6 · 4. The stride is 3, and the stamps interlace."],
      question: "With stride 2 and dilation 2, what do the odd cells hold?",
      options: [
        ["Half of their neighbours.", "Nothing interpolates."],
        ["A copy of a neighbour.", "Nothing is copied."],
        ["The bias alone.", "2 divides both steps, so every tap of every stamp lands on an even cell."],
      ],
      rule: "Stride spreads stamps; dilation spreads the taps of one.",
      play: "Play: move both. Holes appear whenever stride and dilation share a divisor above 1.",
    },
    {
      title: "Two dimensions",
      look: ["A 4 × 4 input under a 3 × 3 kernel, stride 2: each cell shows how many products it receives. Some receive one, some two, some four: with equal weights that is a checkerboard."],
      question: "With `kernel_size=4` every inner output receives 4 products. Is the answer to a constant input flat then, whatever the trained weights?",
      options: [
        ["Always.", "Counts are equal, weights need not be: [1, 2, 3, 1] gives 9, 12 and 16."],
        ["If the weights of every phase have the same sum.", "Each phase has taps of its own; a constant input turns into their sum."],
        ["Never.", "[1, 3, 3, 1] is flat: 1 + 3 in both phases."],
      ],
      rule: "Flat means equal sums per phase; s dividing k only makes the tap counts equal.",
      play: "Play: choose other weights. A surprise: `kernel_size=3` with [1, 2, 1] is flat too, though its counts are not equal.",
    },
    {
      title: "Channels and groups",
      look: ["`ConvTranspose2d(4, 6, 3, groups=2)`: 4 input channels in two bundles, 6 output channels in two bundles, and wires within a bundle only. Every wire is a kernel of 3 × 3."],
      question: "What is `weight.shape`?",
      options: [
        ["(6, 2, 3, 3)", "That is the order of `Conv2d`: output channels first."],
        ["(4, 6, 3, 3)", "That is `groups=1`: every input channel with every output channel."],
        ["(4, 3, 3, 3)", "4 rows, one for each input channel, of 3 blocks: the output channels of its own group."],
      ],
      rule: "Groups connect only their own channels; input channels come first.",
      play: "Play: point at a block of the weight to see its wire. With `groups=3` the library refuses, and says why.",
    },
  ],
};
