// Prints DuckDB's answer to a query about a file.
import { DuckDBInstance } from "@duckdb/node-api";

const [file, query] = process.argv.slice(2);
const connection = await (await DuckDBInstance.create(":memory:")).connect();
const quoted = `'${file.replaceAll("'", "''")}'`;
const reader = await connection.runAndReadAll(query.replaceAll("$file", quoted));
const rows = reader.getRows().map((row) => row.map((v) => (v === null ? null : typeof v === "object" ? v.toString() : String(v))));
process.stdout.write(JSON.stringify(rows));
