// Page: asks the server for a task, does it here or in a Worker of the page, sends the answer, and goes on with the next.
import { answer } from "./answer.mjs";
import { load } from "./load.mjs";

const { task, id, worker } = Object.fromEntries(new URLSearchParams(location.search));

const done = worker
  ? new Promise((resolve) => {
      const thread = new Worker(`/suite/page-worker.mjs?task=${task}`, { type: "module" });
      thread.onmessage = ({ data }) => resolve(data);
      thread.onerror = ({ message }) => resolve({ error: `the Worker failed: ${message}` });
      thread.postMessage(task);
    })
  : answer(task, load);
const response = await fetch(`/answer/${id}`, { method: "POST", body: JSON.stringify(await done) });
location.replace(await response.text());
