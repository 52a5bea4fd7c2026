{% include "sort.js" %}
const body = document.querySelector("#queue tbody");
document.querySelectorAll("#queue th button").forEach(button => {
  let descending = true;
  button.addEventListener("click", () => {
    descending = !descending;
    const heading = button.closest("th");
    document.querySelectorAll("#queue th").forEach(other => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    sortRows(body, heading, descending);
  });
});
const saved = document.getElementById("saved");
async function save(row) {
  const mark = row.querySelector("input[type=radio]:checked")?.value ?? "", note = row.querySelector("input[type=text]").value;
  row.querySelector(".mark").dataset.key = mark;
  try {
    const answer = await fetch(`marks/${row.dataset.place}`, { method: "PUT", body: JSON.stringify({ mark, note }) });
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error);
    document.getElementById("summary").replaceChildren(...content.said.map(sentence => {
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
