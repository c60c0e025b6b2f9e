import "./table/table.css";
import { useQuery } from "@tanstack/react-query";
import { glyph, isNumber, type Source, tablePage } from "./table/tables";
import { Value } from "./table/Value";
import { Trouble } from "./Trouble";
import { count } from "./words";

const NONE = { sort: [], filters: [] };
const MOST_COLUMNS = 12;

/** The first rows of a table, small; where it is seen whole is the page's to say. */
export function TablePreview({ workspace, source, rows = 8 }: { workspace: string; source: Source; rows?: number }) {
  const found = useQuery(tablePage(workspace, source, NONE, 0, rows));
  if (found.error) return <Trouble error={found.error} />;
  const page = found.data;
  if (!page) return <div className="table-preview" style={{ minHeight: 40 + rows * 26 }} aria-busy />;
  const columns = page.columns.slice(0, MOST_COLUMNS);
  const left = page.columns_total - columns.length;
  return (
    <div className="table-preview" role="region" aria-label="First rows" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.name} className={isNumber(column) ? "right" : ""} title={column.type}>
                {column.name} <span className="quiet">{glyph(column)}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {page.rows.map((row, index) => (
            <tr key={index}>
              {columns.map((column, at) => (
                <td key={column.name} className={isNumber(column) ? "right mono" : ""}>
                  <Value column={column} value={row[at]} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      <p className="quiet">
        {page.total === null ? "many rows" : count(page.total, "row")} × {count(page.columns_total, "column")}
        {left > 0 && `, ${left} more not shown`}
      </p>
    </div>
  );
}
