function sortRows(body, heading, descending) {
  const column = heading.cellIndex;
  const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
  const order = heading.classList.contains("number")
    ? (a, b) => (parseFloat(key(a)) || 0) - (parseFloat(key(b)) || 0)
    : (a, b) => key(a).localeCompare(key(b));
  [...body.rows].sort((a, b) => descending ? order(b, a) : order(a, b)).forEach(row => body.append(row));
}
