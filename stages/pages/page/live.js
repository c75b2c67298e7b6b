// At the end: fill the page once from the documents in it, or follow the server that it came from.

const POLL = 2000; // milliseconds
let text = "", itemsNumber = null;

async function follow() {
  let answer;
  try {
    answer = await (await fetch("overview.json")).text();
  } catch {
    text = "";
    byId("status").textContent = "The server has stopped.";
    return;
  }
  if (answer === text) return;
  const fresh = JSON.parse(answer);
  byId("status").textContent = fresh.fault ? `Cannot be read at the moment: ${fresh.fault}` : "Follows the files.";
  if (!fresh.fault) await update(fresh);
  text = answer;
}

async function update(fresh) {
  overview = fresh;
  fillOverview();
  if (overview.items !== itemsNumber && !viewer.open) {
    gallery = await (await fetch("items.json")).json();
    itemsNumber = overview.items;
    fillGallery();
  }
}

const keepFollowing = () => follow().finally(() => setTimeout(keepFollowing, POLL));

if (live) keepFollowing();
else {
  fillOverview();
  fillGallery();
}
