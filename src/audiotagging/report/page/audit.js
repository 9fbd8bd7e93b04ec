// Decisions on clips become corrections.csv: one row per clip whose labels change, without labels if it is left out.
const list = document.getElementById("clips")
const cards = [...list.children]
const classes = JSON.parse(document.getElementById("classes").textContent)
const decisions = load() // by clip: { choice, labels }, where labels are those of the choice "other"

function load() {
  try {
    return JSON.parse(localStorage.getItem(list.dataset.page)) ?? {}
  } catch {
    return {} // a browser may refuse to keep anything for files
  }
}

function save() {
  try {
    localStorage.setItem(list.dataset.page, JSON.stringify(decisions))
  } catch {} // then the decisions last as long as the page
}

// The labels that a card's clip is to have, or null while there is no change.
function corrected(card) {
  const { choice, labels } = decisions[card.dataset.clip] ?? {}
  if (choice === "proposed") return JSON.parse(card.dataset.proposed)
  if (choice === "drop") return []
  if (choice !== "other" || !labels.length || String(labels) === String(JSON.parse(card.dataset.labels))) return null
  return labels
}

// An apostrophe keeps a spreadsheet from running the text as a formula; `spreadsheet.py` says which texts and why.
function field(value) {
  const text = /^([=+\-@\t\r\n]|'[=+\-@\t\r\n'])/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text // RFC 4180
}

function table() {
  const rows = cards.map(card => [card.dataset.clip, corrected(card)]).filter(([, labels]) => labels)
  return [["fname", "labels"], ...rows.map(([clip, labels]) => [clip, labels.join(",")])]
}

// Show the boxes of all classes below the choice "other", and hide them for other choices.
function showChoices(card) {
  const { choice, labels } = decisions[card.dataset.clip] ?? {}
  card.querySelector(".choices")?.remove()
  if (choice !== "other") return
  const box = document.createElement("div")
  box.className = "choices"
  box.setAttribute("role", "group")
  box.setAttribute("aria-label", `Labels of ${card.dataset.clip}`)
  for (const name of classes) {
    const input = Object.assign(document.createElement("input"), { type: "checkbox", value: name })
    input.checked = labels.includes(name)
    const label = document.createElement("label")
    label.append(input, name)
    box.append(label)
  }
  card.querySelector("input[value=other]").parentElement.after(box)
}

function showStatus() {
  const decided = cards.filter(card => decisions[card.dataset.clip]).length
  const corrections = table().length - 1
  document.getElementById("status").textContent = `${decided} of ${cards.length} decided, ${corrections} to correct`
  document.getElementById("download").disabled = corrections === 0
  document.getElementById("clear").disabled = decided === 0
}

function showAll() {
  for (const card of cards) {
    const { choice } = decisions[card.dataset.clip] ?? {}
    for (const input of card.querySelectorAll("input[type=radio]")) input.checked = input.value === choice
    showChoices(card)
  }
  showStatus()
}

list.addEventListener("change", ({ target }) => {
  const card = target.closest("li"), clip = card.dataset.clip
  if (target.type === "radio") {
    decisions[clip] = { choice: target.value, labels: JSON.parse(card.dataset.labels) }
    showChoices(card)
  } else {
    const boxes = [...card.querySelectorAll(".choices input")]
    decisions[clip].labels = boxes.filter(box => box.checked).map(box => box.value)
  }
  save()
  showStatus()
})

document.getElementById("clear").addEventListener("click", () => {
  if (!confirm("Forget all decisions on this page?")) return
  for (const clip in decisions) delete decisions[clip]
  save()
  showAll()
})

document.getElementById("download").addEventListener("click", () => {
  const text = table().map(row => row.map(field).join(",") + "\r\n").join("")
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }))
  Object.assign(document.createElement("a"), { href: url, download: "corrections.csv" }).click()
  setTimeout(() => URL.revokeObjectURL(url), 1000)
})

showAll()
