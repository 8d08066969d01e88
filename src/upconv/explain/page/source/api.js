// The pure part by its names, for tests and for the curious; where there is no document, this is all that runs.

globalThis.upconv = Object.freeze({
  outputOf, makeAxis, torchAxis, pairsOf, stampOf, counts, phasesOf, tapsOf, windowOf, inputsIn,
  refusalsOf, channelRefusal, fixesOf, written, documented, ambiguity, insertedZeros, settingArguments, sizesUndone,
  nearest, commonSettings, tooMany, solutionsFor, solutionRow, deadOutputs, ignoredInputs, usefulTaps,
  verdictOf, verdictSentences, borderOf, beyondOf, evenAlternatives, translate, differenceSentences, callOf,
  cutAfterwards, weightSteps, holdsAlways, bothArguments, keywords, stampedMap, stampedRow, gatheredRow, phaseSums, responseTo, termsOf, totalOf,
  initialState, stateOf, linkOf, reduce, patched, axisAt, refusalsAt, commandOf, mended, sameAxis, valuesOf, typed,
  codeOf, badgeOf, TARGETS, LESSONS, lessonStart, lessonAxis, gcd,
  CONVENTIONS, INPUT_PATTERN, KERNEL_PATTERN, shown, josa,
  SAY: { en: SAY_EN, ko: SAY_KO },
  UI: { en: UI_EN, ko: UI_KO },
  STEPS: { en: STEPS_EN, ko: STEPS_KO },
});
