// Filter the rows of the model table: each word must be in the row; "thinks:always" looks in one column.
document.addEventListener("DOMContentLoaded", () => {
  const table = [...document.querySelectorAll("#models table")].pop();
  if (!table) return;
  table.classList.add("models");
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const rows = [...table.tBodies[0].rows];
  const input = document.createElement("input");
  const count = document.createElement("p");
  input.type = "search";
  input.className = "model-filter";
  input.placeholder = "Filter, such as: qwen3 tools:yes json_schema:yes regions:beijing";
  input.setAttribute("aria-label", "Filter the models");
  const holds = (row, word) => {
    const column = names.indexOf(word.split(":")[0]);
    const cell = column >= 0 && word.includes(":") ? row.cells[column] : null;
    const [text, wanted] = cell ? [cell.textContent, word.slice(word.indexOf(":") + 1)] : [row.textContent, word];
    return text.toLowerCase().includes(wanted.toLowerCase());
  };
  const show = () => {
    const words = input.value.split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => holds(row, word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length} models`;
  };
  input.addEventListener("input", show);
  (table.closest(".table-wrapper") || table).before(input, count);
  show();
});
