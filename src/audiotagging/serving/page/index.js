// Sends a sound twice: for the scores of all of it, and for those of its windows. Each label is a row above the axis of time.
const get = id => document.getElementById(id)
const player = get("player"), drop = get("drop"), status = get("status")
let asked = 0 // the number of the newest request: answers to older ones are not shown

async function tags(file, options) {
  const form = new FormData()
  form.append("file", file, file.name)
  const answer = await fetch("tag?" + new URLSearchParams(options), { method: "POST", body: form })
  const content = await answer.json()
  if (!answer.ok) throw new Error(content.error)
  return { content, version: answer.headers.get("Model-Version") }
}

function say(text, isError = false) {
  status.textContent = text
  status.className = isError ? "error" : ""
}

function element(name, className, text = "") {
  return Object.assign(document.createElement(name), { className, textContent: text })
}

function clock(seconds) {
  return seconds < 60 ? `${+seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`
}

// One row: the label, its windows in a colour that is stronger for higher scores, and the score of the whole sound.
// Where windows overlap, the later one is seen.
function row({ label, score }, windows, seconds) {
  const track = element("div", "track")
  const own = windows.filter(each => each.label === label)
  own.forEach(({ start, end, score }, place) => {
    const until = Math.min(end, own[place + 1]?.start ?? end)
    const bar = element("span", "")
    bar.title = `${clock(start)} to ${clock(end)}: ${score.toFixed(3)}`
    bar.style.cssText = `left: ${100 * start / seconds}%; width: ${100 * (until - start) / seconds}%; opacity: ${Math.sqrt(score)}`
    track.append(bar)
  })
  track.append(element("span", "now"))
  track.addEventListener("click", event => {
    const { left, width } = track.getBoundingClientRect()
    player.currentTime = seconds * (event.clientX - left) / width
    player.play()
  })
  return [element("div", "label", label), track, element("div", "score", score.toFixed(3))]
}

function axis(seconds) {
  const line = element("div", "axis")
  for (let part = 0; part <= 4; part++) {
    const tick = element("span", "", clock(seconds * part / 4))
    tick.style.left = `${25 * part}%`
    line.append(tick)
  }
  return line
}

function duration(windows) { // of what the browser cannot play, the end of the last window that is not silent
  return Number.isFinite(player.duration) ? player.duration : Math.max(...windows.map(each => each.end), 0.1)
}

async function show(file) {
  const number = ++asked
  get("result").hidden = true
  URL.revokeObjectURL(player.src)
  player.src = URL.createObjectURL(file)
  say(`Tagging ${file.name} ...`)
  try {
    const top = get("rows").value
    const [whole, windows] = await Promise.all([tags(file, { top }), tags(file, { top: 1000, every: get("every").value })])
    if (number !== asked) return
    const seconds = duration(windows.content)
    const rows = whole.content[0].tags.flatMap(tag => row(tag, windows.content, seconds))
    get("whole").replaceChildren(...rows, axis(seconds))
    get("name").textContent = file.name
    get("version").textContent = `Version ${whole.version}. The stronger its colour, the higher a window scores. Click one to hear it.`
    get("result").hidden = false
    say("")
  } catch (error) {
    if (number === asked) say(error.message, true)
  }
}

player.addEventListener("timeupdate", () => {
  for (const now of document.querySelectorAll(".now")) now.style.left = `${100 * player.currentTime / player.duration}%`
})
get("file").addEventListener("change", ({ target }) => target.files.length && show(target.files[0]))
for (const id of ["every", "rows"]) get(id).addEventListener("change", () => get("file").files.length && show(get("file").files[0]))
drop.addEventListener("dragover", event => {
  event.preventDefault()
  drop.classList.add("over")
})
drop.addEventListener("dragleave", () => drop.classList.remove("over"))
drop.addEventListener("drop", event => {
  event.preventDefault()
  drop.classList.remove("over")
  get("file").files = event.dataTransfer.files
  if (event.dataTransfer.files.length) show(event.dataTransfer.files[0])
})
