// The same sentences in Korean. Particles follow the reading of the number before them.

const KO_NAMES = {
  n: "입력 크기", k: "kernel_size", s: "stride", p: "padding", op: "output_padding", d: "dilation",
  g: "groups", ci: "in_channels", co: "out_channels",
};

// Digits whose reading ends in a consonant: 영 일 삼 육 칠 팔, and 십, 백, 천, 만 after a 0; 일, 칠, 팔 end in ㄹ.
const CLOSED = "013678";
const LIQUID = "178";

// A number with the particle that its reading takes: josa(3, "을/를") is "3을".
function josa(number, pair) {
  const last = String(number).slice(-1);
  const [closed, open] = pair.split("/");
  const liquid = closed === "으로" && LIQUID.includes(last);
  return `${number}${CLOSED.includes(last) && !liquid ? closed : open}`;
}

function listedKo(values) {
  if (values.length > 3) return `${values[0]}~${values[values.length - 1]}`;
  return values.length === 2 ? `${josa(values[0], "과/와")} ${values[1]}` : values.join(", ");
}

const whoseKo = (whole) => (whole ? "출력" : `가운데 출력 ${COUNTED.toLocaleString("en-US")}개`);

const KO_VERDICTS = {
  off_canvas: () => "캔버스 위에 놓인 출력이 없어 모두 bias뿐입니다",
  shared_divisor: ({ s, d, g }) =>
    `s = ${josa(s, "과/와")} d = ${josa(d, "이/가")} 모두 ${josa(g, "으로/로")} 나누어떨어져 ${g}칸에 한 칸만 값이 닿고, 그 사이 출력은 bias뿐입니다`,
  short_kernel: ({ empty, period, k, s }) =>
    `탭 k = ${k}개로는 stride ${josa(s, "을/를")} 다 덮지 못해, 출력 ${period}개마다 ${empty}개는 bias뿐입니다`,
  stride_one: ({ count }) => `도장이 한 칸씩 밀려 찍히므로 안쪽 출력은 모두 곱을 ${count}개씩 받습니다`,
  divides: ({ count, s, k }) =>
    `k = ${josa(k, "이/가")} s = ${josa(s, "으로/로")} 나누어떨어지므로 안쪽 출력은 모두 곱을 ${count}개씩 받습니다`,
  does_not_divide: ({ most, least, s, k }) =>
    `k = ${josa(k, "이/가")} s = ${josa(s, "으로/로")} 나누어떨어지지 않아, 출력이 곱을 ${most}개와 ${least}개씩 번갈아 받습니다`,
  tap_gaps: ({ empty, period, d, n }) =>
    `탭 간격이 d = ${d}인데 입력이 ${n}개뿐이라 틈을 다 메우지 못해, 출력 ${period}개마다 ${empty}개는 bias뿐입니다`,
  few_inputs: ({ count, n }) => `안쪽 출력은 모두 곱을 ${count}개씩 받습니다. 입력 ${n}개로 줄 수 있는 최대입니다`,
  inputs_undivided: ({ most, least, d, n }) =>
    `n = ${josa(n, "이/가")} d = ${josa(d, "으로/로")} 나누어떨어지지 않아, 출력이 곱을 ${most}개와 ${least}개씩 번갈아 받습니다`,
  counted_holes: ({ empty, all, whole }) => `${whoseKo(whole)}${all ? "이 모두" : ` 가운데 ${empty}개가`} bias뿐입니다`,
  counted_even: ({ count, whole }) => `${whoseKo(whole)} 모두 곱을 ${count}개씩 받습니다. 입력이 짧거나 많이 잘려서 더 받을 수 없습니다`,
  counted_calm: ({ least, most, whole }) =>
    `입력이 짧거나 많이 잘려서, ${whoseKo(whole)}마다 받는 곱이 ${least}개에서 ${most}개까지 늘었다 줄 뿐, 번갈아 바뀌지는 않습니다`,
  counted_turns: ({ least, most, whole }) =>
    `입력이 짧거나 많이 잘려서, ${whoseKo(whole)}마다 받는 곱이 ${least}개에서 ${most}개 사이를 오르내립니다`,
};

const KO_REFUSALS = {
  below_one: ({ name, value }) => `${KO_NAMES[name]} 값이 ${value}입니다. 1 이상이어야 합니다`,
  below_zero: ({ name, value }) => `${KO_NAMES[name]} 값이 ${value}입니다. 0 이상이어야 하므로 가장 가까운 값은 0입니다`,
  op_high: ({ value, bound }) =>
    `output_padding 값이 ${value}입니다. max(stride, dilation) = ${bound}보다 작아야 하므로 ${bound - 1}까지만 쓸 수 있습니다`,
  nothing_left: ({ out, full, lo, hi }) =>
    `출력 크기가 ${josa(out, "이/가")} 됩니다. 크기가 ${full}인 캔버스에서 padding이 앞뒤로 ${josa(lo, "과/와")} ${josa(hi, "을/를")} 잘라 내기 때문입니다. 합해서 ${full - 1}까지만 자를 수 있습니다`,
  undivided: ({ name, value, groups, divisor }) =>
    `${KO_NAMES[name]} 값 ${josa(value, "이/가")} groups=${josa(groups, "으로/로")} 나누어떨어지지 않습니다. groups=${divisor}이면 됩니다`,
  too_large: ({ name, value, most }) => `${KO_NAMES[name]} 값이 ${value}입니다. 이 페이지는 ${most}까지만 그립니다`,
};

const KO_AXES = {
  both: "높이·너비", height: "높이", width: "너비", both_small: "높이·너비", height_small: "높이", width_small: "너비",
};

function wishKo({ name, lo, hi }) {
  const words = (crop) => (crop >= 0 ? `${crop}칸 자르기` : `${-crop}칸 늘리기`);
  return `${name}에서는 앞 ${words(lo)}, 뒤 ${words(hi)}를 표현할 수 없습니다`;
}

const KO_DIFFERENCES = {
  size: (v) => `${wishKo(v)}. 가장 가까운 설정 ${v.given}에서는 출력 크기가 ${josa(v.out, "이/가")} 아니라 ${v.is}입니다`,
  shift(v) {
    const size = v.resized ? "" : "크기는 같지만 ";
    return `${wishKo(v)}. 가장 가까운 설정 ${v.given}에서는 ${size}모든 값이 ${Math.abs(v.earlier)}칸 ${v.earlier > 0 ? "앞으로" : "뒤로"} 밀립니다`;
  },
  onnx_runtime: ({ op, s }) =>
    `ONNX 규격은 stride ${s}에 output_padding=${josa(op, "을/를")} 허용하지만 ONNX Runtime은 받지 않습니다. stride 이상인 값은 거부하며, 예전 버전은 틀린 값을 계산합니다`,
  keras_refuses: ({ stride, dilation }) =>
    `Keras는 stride ${josa(stride, "과/와")} dilation ${josa(dilation, "을/를")} 함께 받지 않습니다. 커널 사이에 0을 넣어 dilation*(k - 1) + 1개 탭으로 벌리고 dilation_rate=1로 두면 같은 결과를 얻습니다`,
};

const KO_KINDS = { even: "균일", uneven: "불균일", holes: "빈칸 있음" };

const SAY_KO = {
  listed: listedKo,
  name: (name) => KO_NAMES[name],
  named: ({ name, rest }) => `${KO_AXES[name]}: ${rest}${name.endsWith("_small") ? "" : "."}`,
  refusal: (v) => KO_REFUSALS[v.why](v),
  verdict: (v) => KO_VERDICTS[v.why](v),
  difference: (v) => KO_DIFFERENCES[v.why](v),
  crops_beyond: ({ lo, hi }) => `crop_lo = ${lo}, crop_hi = ${hi} (PyTorch로는 표현할 수 없음)`,
  zeros({ count, where }) {
    const place = { between: "입력 사이마다", before: "앞에", after: "뒤에" }[where];
    return count < 0 ? `${count}: ${place.replace("에", "에서")} 값 ${-count}개 제거` : `${place} 0을 ${count}개`;
  },
  values: ({ count }) => `값 ${count}개`,
  in_all: ({ sum: total, length }) => `${total} = 모두 ${length}개`,
  ordinary: ({ length, reach, out }) =>
    `뒤집은 커널로 하는 일반 합성곱: ${length} - d*(k - 1) = ${length} - ${reach} = 출력 ${out}개`,
  torch_cannot: ({ lo, hi, step }) =>
    `PyTorch는 crop ${josa(lo, "과/와")} ${josa(hi, "을/를")} 표현할 수 없습니다. 0 <= crop_lo - crop_hi < max(stride, dilation) = ${step}이고 crop_lo >= 0이어야 합니다.`,
  torch_reaches: ({ other }) => `크기만 같고 위치는 다른 설정은 ${other}입니다.`,
  undoes_none: ({ conv, n }) => `${conv}의 출력 크기가 ${josa(n, "이/가")} 되는 입력은 없습니다.`,
  undoes_one: ({ conv, n, size, alone }) =>
    `${conv}의 출력 크기가 ${josa(n, "이/가")} 되는 입력 크기는 ${size}뿐입니다.${alone ? " 이 레이어는 그 크기로만 되돌릴 수 있습니다." : ""}`,
  undoes_several: ({ conv, n, sizes }) =>
    `${conv}는 크기 ${josa(listedKo(sizes), "을/를")} 똑같이 ${josa(n, "으로/로")} 줄입니다. 그래서 ${n}만 보고는 어느 크기로 되돌릴지 알 수 없습니다.`,
  op_must_be_zero: () => "output_padding은 max(stride, dilation) = 1보다 작아야 하므로 여기서는 0만 쓸 수 있습니다.",
  op_gives: ({ op, size }) => `output_padding=${op}이면 ${size}`,
  op_says_it: ({ options }) => `어느 크기인지는 output_padding으로 정합니다. ${options}.`,
  op_keeps: () => "출력에 0을 붙이는 것이 아니라, 캔버스의 끝을 덜 잘라 냅니다.",
  op_keeps_more: ({ beyond }) =>
    `캔버스의 끝을 덜 잘라 내는데, 여기서는 남은 캔버스보다 더 많이 남깁니다. 마지막 출력 ${beyond}개는 캔버스 밖이라 bias뿐입니다.`,
  instead: ({ wanted, other }) => `출력 크기를 ${josa(wanted, "으로/로")} 하려면 ${other}.`,
  same_but_even: ({ n, out, found }) =>
    `같은 크기 ${n} → ${josa(out, "을/를")} 균일하게 겹쳐 만드는 설정: ${found.map((each) => `(${each})`).join(" 또는 ")}`,
  necessary: () =>
    "곱의 개수가 균일한 것은 필요조건일 뿐입니다. phase마다 쓰는 탭이 다르므로, 학습 뒤에 가중치의 합이 서로 달라지면 체커보드 무늬가 다시 나타납니다.",
  border({ ends, short, dead }) {
    const places = ends.map(({ end, count, canvas }) => {
      const which = end === "last" ? "마지막" : count === 1 ? "첫" : "처음";
      return `${canvas ? "캔버스 위의 " : ""}${which} ${count === 1 ? "출력" : `${count}칸의 일부`}`;
    });
    const note = short
      ? "입력이 짧거나 많이 잘려서, 제 탭을 모두 받는 출력이 없는 phase가 있습니다"
      : `입력이 끝나는 가장자리에서는 곱이 적습니다(${places.join(", ")})`;
    return dead ? `${note}. 그중 출력 ${dead}개는 bias뿐입니다` : note;
  },
  beyond({ ends }) {
    const places = ends.map(({ end, count }) => `${end === "first" ? "맨 앞" : "맨 끝"} 출력 ${count}개`);
    return `${places.join("와 ")}는 캔버스 밖이라 bias뿐입니다`;
  },
  too_many: (v) => (v.why === "found"
    ? `${josa(v.n, "을/를")} ${josa(v.out, "으로/로")} 만드는 설정이 ${v.most.toLocaleString("en-US")}개를 넘습니다.${v.best.length ? ` 가장 알맞은 것은 차례로 ${v.best.map((each) => `(${settingArguments(each)})`).join(", ")}입니다.` : ""} kernel_size나 stride를 고정해 보세요`
    : `찾아볼 조합이 ${v.combinations.toLocaleString("en-US")}개로 너무 많습니다. kernel_size나 stride를 고정해 보세요`),
  remark({ kind, ignored: unused, beyond, dead, cropping }) {
    const words = [KO_KINDS[kind]];
    if (cropping) words.push("많이 잘라 냄");
    if (unused) words.push(`안 쓰이는 입력 ${unused}개`);
    if (beyond > 0 && beyond === dead) words.push(`끝 ${beyond}개는 bias뿐`);
    else if (dead) words.push(`출력 ${dead}개는 bias뿐`);
    return words.join(", ");
  },
  undone: (sizes) => sizes.map((all) => (all ? listedKo(all) : "-")).filter((text, at, texts) => texts.indexOf(text) === at).join(" × "),
  always: ({ shape }) => `입력 크기와 관계없이 성립합니다. 예를 들어 ${shape}.`,
  depends: ({ shape }) => `입력 크기에 따라 답이 달라집니다. 여기서는 ${shape}.`,
  shape: ({ n, out }) => `${n[0]} × ${n[1]} → ${out[0]} × ${out[1]}`,
  no_groups: ({ target, groups }) =>
    `${target}에는 groups가 없습니다. 그룹마다 레이어를 하나씩, 모두 ${groups}개 두고 채널 방향으로 이어 붙이면 됩니다`,
};
