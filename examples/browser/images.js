// Images: a picture as a model's input, resized, its values brought to where the model wants them, channel after channel.

/** What becomes of a value from 0 to 1, by channel: (value - mean) / deviation. */
const VALUES = {
  unit: { mean: [0, 0, 0], deviation: [1, 1, 1] },
  signed: { mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5] },
  imagenet: { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] },
  bytes: { mean: [0, 0, 0], deviation: [1 / 255, 1 / 255, 1 / 255] },
};
// of a single channel, what eyes make of the three (ITU-R BT.601)
const LUMINANCE = [0.299, 0.587, 0.114];

/** @returns Float32Array, channels x height x width; `order` is RGB or BGR, `values` a key of the table above */
export async function imageInput(file, { channels, height, width, values, order }) {
  const picture = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  picture.close();
  const { data } = context.getImageData(0, 0, width, height);
  const plane = width * height;
  const input = new Float32Array(channels * plane);
  const { mean, deviation } = VALUES[values];
  for (let pixel = 0; pixel < plane; pixel++) {
    for (let c = 0; c < 3; c++) {
      const value = (data[4 * pixel + c] / 255 - mean[c]) / deviation[c];
      if (channels === 1) input[pixel] += LUMINANCE[c] * value;
      else input[(order === "BGR" ? 2 - c : c) * plane + pixel] = value;
    }
  }
  return input;
}
