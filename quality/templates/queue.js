const body = document.querySelector("#queue tbody");
document.querySelectorAll("#queue th button").forEach(button => {
  let descending = true;
  button.addEventListener("click", () => {
    descending = !descending;
    const heading = button.closest("th"), column = heading.cellIndex;
    const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
    const order = heading.classList.contains("number")
      ? (a, b) => parseFloat(key(a)) - parseFloat(key(b))
      : (a, b) => key(a).localeCompare(key(b));
    document.querySelectorAll("#queue th").forEach(other => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    [...body.rows].sort((a, b) => descending ? order(b, a) : order(a, b)).forEach(row => body.append(row));
  });
});
const saved = document.getElementById("saved");
async function save(row) {
  const mark = row.querySelector("input[type=radio]:checked")?.value ?? "", note = row.querySelector("input[type=text]").value;
  row.querySelector(".mark").dataset.key = mark;
  try {
    const answer = await fetch(`marks/${row.dataset.place}`, { method: "PUT", body: JSON.stringify({ mark, note }) });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    document.getElementById("said").replaceChildren(...told.said.map(sentence => {
      const item = document.createElement("li");
      item.textContent = sentence;
      return item;
    }));
    saved.textContent = `${row.dataset.name}: ${mark || "no mark"}, saved`;
  } catch (error) {
    saved.textContent = `${row.dataset.name} could not be saved: ${error.message}`;
  }
}
body.addEventListener("change", event => save(event.target.closest("tr")));
