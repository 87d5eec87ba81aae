// What the text lines say: invented receipts, signs, addresses and sentences, in English and Chinese.
import type { Random } from "./random.ts";

const NOUNS = (
  "harbor garden engine letter window bridge market river camera ticket planet kitchen library signal forest teacher " +
  "battery mirror village pattern station journey balance chapter doctor island carpet thunder orchard museum parcel " +
  "notebook airport quarry jacket bakery valley keyboard glacier sparrow wizard oxygen puzzle rhythm"
).split(" ");
const ADJECTIVES = (
  "quiet broken yellow early modern narrow frozen honest public gentle hollow rapid simple golden digital proper vivid " +
  "western exact joyful lazy zigzag unique"
).split(" ");
const VERBS =
  "opens follows carries repairs measures leaves finds keeps crosses paints quotes joins buys examines".split(" ");
const NAMES =
  "Amelia Boris Chloe Dmitri Esther Felix Greta Hugo Ingrid Jonas Klara Liam Maya Quinn Walter Yusuf Zoe".split(" ");
const MONTHS = "Jan Feb March April May June July Aug Sept Oct Nov Dec".split(" ");
const LABELS = "Total Subtotal Balance Invoice Order Amount Ref Price Discount Tax Weight Deposit".split(" ");
const CURRENCIES = ["$", "EUR ", "USD "];

const PLACES = "北京 上海 广州 南京 杭州 成都 重庆 西安 苏州 青岛 昆明 长沙".split(" ");
const WHO = "我们 老师 学生 医生 朋友 孩子 他们 工程师 爷爷 邻居".split(" ");
const WHEN = "今天 明天 昨天 上午 下午 周末 每天 去年 春天 冬天".split(" ");
const DOES =
  "参观博物馆 学习数学 修理自行车 阅读报纸 乘坐地铁 准备晚饭 打扫房间 讨论计划 购买车票 观察星星 种植蔬菜 整理书架".split(
    " ",
  );
const SIGNS =
  "禁止吸烟 小心地滑 请勿触摸 安全出口 前方施工 谢谢合作 营业时间 欢迎光临 紧急电话 免费停车 保持安静 节约用水".split(
    " ",
  );
const STREETS = "人民路 中山路 解放街 长江大道 和平街 文化路 建设路 花园街".split(" ");

const title = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);
const digits = (random: Random, count: number): string =>
  Array.from({ length: count }, () => String(random.integer(0, 9))).join("");
const twoDigits = (value: number): string => String(value).padStart(2, "0");
const clock = (random: Random): string => `${twoDigits(random.integer(0, 23))}:${twoDigits(random.integer(0, 59))}`;
const cents = (random: Random): string => (random.integer(100, 99_999) / 100).toFixed(2);
const date = (random: Random): string =>
  `${random.integer(1990, 2029)}-${twoDigits(random.integer(1, 12))}-${twoDigits(random.integer(1, 28))}`;

// Short on purpose: reading costs 0.25 ms a column of pixels, and the sweep reads every line with every setting.
const ENGLISH: readonly ((random: Random) => string)[] = [
  (r) => `${title(r.pick(ADJECTIVES))} ${r.pick(NOUNS)}${r.pick(["!", "?", ";", "."])}`,
  (r) => `${r.pick(NAMES)} ${r.pick(VERBS)}`,
  (r) => `"${title(r.pick(NOUNS))}"`,
  (r) => `${r.pick(NOUNS)} & ${r.pick(NOUNS)}`,
  (r) => `${r.pick(NOUNS)}, ${r.pick(NOUNS)}`,
  (r) => `${r.pick(LABELS)}: ${cents(r)}`,
  (r) => `${r.pick(CURRENCIES)}${cents(r)}`,
  (r) => `No. ${digits(r, 5)}-${r.pick(["A", "B", "K", "X"])}`,
  (r) => `${r.integer(1, 28)} ${r.pick(MONTHS)} ${r.integer(1990, 2029)}`,
  (r) => `${r.pick(NAMES).toLowerCase()}@${r.pick(NOUNS)}.org`,
  (r) => `www.${r.pick(NOUNS)}.com`,
  (r) => `(${digits(r, 3)}) ${digits(r, 5)}`,
  (r) => `${r.pick(NOUNS).toUpperCase()} ${r.integer(1, 99)}`,
  (r) => `${r.pick(NOUNS)} (-${r.integer(5, 95)}%)`,
  (r) => date(r),
  (r) => `${clock(r)} #${digits(r, 4)}`,
];

const CHINESE: readonly ((random: Random) => string)[] = [
  (r) => `${r.pick(WHO)}${r.pick(DOES)}`,
  (r) => `${r.pick(WHEN)}${r.pick(DOES)}`,
  (r) => `${r.pick(PLACES)}${r.pick(SIGNS)}`,
  (r) => `${r.pick(STREETS)}${r.integer(1, 999)}号`,
  (r) => `${r.pick(PLACES)}到${r.pick(PLACES)}${clock(r)}`,
  (r) => `共${r.integer(2, 60)}件${cents(r)}元`,
  (r) => `${r.integer(1, 12)}月${r.integer(1, 28)}日`,
  (r) => `${r.pick(SIGNS)} ${r.pick(["OPEN", "EXIT", "STOP", "WiFi", "VIP"])}`,
];

/** One line's text. */
export function sentence(random: Random, language: "english" | "chinese"): string {
  return random.pick(language === "english" ? ENGLISH : CHINESE)(random);
}
