// The typefaces that text lines are set in, found in npm packages: system fonts would make results differ by machine.
import { createRequire } from "node:module";
import { GlobalFonts } from "@napi-rs/canvas";

/** One face, and whether it can set Chinese. */
export interface Face {
  /** As `require.resolve` finds it. */
  readonly file: string;
  readonly chinese: boolean;
}

/** The names that {@link LineOptions.fonts} uses. */
export type FaceName =
  | "sans"
  | "sans-bold"
  | "sans-oblique"
  | "sans-narrow"
  | "serif"
  | "serif-bold"
  | "serif-italic"
  | "serif-narrow"
  | "mono"
  | "mono-bold"
  | "xiaowei"
  | "kuaile";

const latin = (name: string): Face => ({ file: `dejavu-fonts-ttf/ttf/${name}.ttf`, chinese: false });

const chinese = (name: string): Face => ({
  file: `@fontsource/${name}/files/${name}-chinese-simplified-400-normal.woff2`,
  chinese: true,
});

/** DejaVu: Bitstream Vera licence and public domain. ZCOOL XiaoWei and KuaiLe: SIL Open Font Licence 1.1. */
export const FACES: Readonly<Record<FaceName, Face>> = {
  sans: latin("DejaVuSans"),
  "sans-bold": latin("DejaVuSans-Bold"),
  "sans-oblique": latin("DejaVuSans-Oblique"),
  "sans-narrow": latin("DejaVuSansCondensed"),
  serif: latin("DejaVuSerif"),
  "serif-bold": latin("DejaVuSerif-Bold"),
  "serif-italic": latin("DejaVuSerif-Italic"),
  "serif-narrow": latin("DejaVuSerifCondensed"),
  mono: latin("DejaVuSansMono"),
  "mono-bold": latin("DejaVuSansMono-Bold"),
  xiaowei: chinese("zcool-xiaowei"),
  kuaile: chinese("zcool-kuaile"),
};

const registered = new Set<FaceName>();

/** The family name to draw with. Aliased, so that an installed font of the same name cannot take its place. */
export function fontFamily(name: FaceName): string {
  const family = `wlq-${name}`;
  if (!registered.has(name)) {
    const path = createRequire(import.meta.url).resolve(FACES[name].file);
    if (GlobalFonts.registerFromPath(path, family) === null) throw new Error(`font ${path} cannot be loaded`);
    registered.add(name);
  }
  return family;
}
