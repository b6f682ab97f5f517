/**
 * node generate.mjs FOLDER [SCALE] [SEED]: the eight tables of TPC-H as Parquet, a folder each.
 *
 * It is not TPC's dbgen, and what runs over it is no TPC-H result: columns, types, keys, numbers of
 * rows and what the 22 queries look for are as in the specification (3.0.1, clause 4.2), the values
 * are made by hashing. Every foreign key leads somewhere; the same seed gives the same rows.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'

const [folder, scale = '0.01', seed = '1'] = process.argv.slice(2)
if (folder === undefined || !(Number(scale) > 0) || !Number.isSafeInteger(Number(seed))) {
  console.error('usage: generate.mjs FOLDER [SCALE > 0] [SEED]')
  process.exit(64)
}
const rows = perScale => Math.max(10, Math.round(Number(scale) * perScale))
const [suppliers, parts, customers, orders] = [10_000, 200_000, 150_000, 1_500_000].map(rows)
/** Lineitem and orders are this many files each, the others one. */
const FILES = 4

const list = words => `[${words.split(/\s*,\s*/).map(word => `'${word}'`)}]`
const WORDS = {
  regions: 'AFRICA, AMERICA, ASIA, EUROPE, MIDDLE EAST',
  nations:
    'ALGERIA, ARGENTINA, BRAZIL, CANADA, EGYPT, ETHIOPIA, FRANCE, GERMANY, INDIA, INDONESIA, IRAN, IRAQ, JAPAN, JORDAN, KENYA, MOROCCO, MOZAMBIQUE, PERU, CHINA, ROMANIA, SAUDI ARABIA, VIETNAM, RUSSIA, UNITED KINGDOM, UNITED STATES',
  colours:
    'almond, antique, aquamarine, azure, beige, bisque, black, blanched, blue, blush, brown, burlywood, burnished, chartreuse, chiffon, chocolate, coral, cornflower, cornsilk, cream, cyan, dark, deep, dim, dodger, drab, firebrick, floral, forest, frosted, gainsboro, ghost, goldenrod, green, grey, honeydew, hot, indian, ivory, khaki, lace, lavender, lawn, lemon, light, lime, linen, magenta, maroon, medium, metallic, midnight, mint, misty, moccasin, navajo, navy, olive, orange, orchid, pale, papaya, peach, peru, pink, plum, powder, puff, purple, red, rose, rosy, royal, saddle, salmon, sandy, seashell, sienna, sky, slate, smoke, snow, spring, steel, tan, thistle, tomato, turquoise, violet, wheat, white, yellow',
  sizes: 'STANDARD, SMALL, MEDIUM, LARGE, ECONOMY, PROMO',
  finishes: 'ANODIZED, BURNISHED, PLATED, POLISHED, BRUSHED',
  metals: 'TIN, NICKEL, BRASS, STEEL, COPPER',
  containers: 'SM, LG, MED, JUMBO, WRAP',
  vessels: 'CASE, BOX, BAG, JAR, PKG, PACK, CAN, DRUM',
  segments: 'AUTOMOBILE, BUILDING, FURNITURE, MACHINERY, HOUSEHOLD',
  priorities: '1-URGENT, 2-HIGH, 3-MEDIUM, 4-NOT SPECIFIED, 5-LOW',
  instructions: 'DELIVER IN PERSON, COLLECT COD, NONE, TAKE BACK RETURN',
  modes: 'REG AIR, AIR, RAIL, SHIP, TRUCK, MAIL, FOB',
  comments:
    'about, above, accounts, according, across, after, against, along, among, asymptotes, attainments, beans, blithely, bold, boost, braids, busy, carefully, courts, daring, deposits, detect, dolphins, doggedly, dugouts, epitaphs, escapades, even, excuses, express, final, fluffily, foxes, frays, furiously, gifts, grouches, haggle, hockey, ideas, idle, instructions, ironic, nag, packages, patterns, pending, pinto, platelets, players, quickly, quietly, realms, regular, requests, ruthlessly, sauternes, sentiments, silent, sleep, slyly, special, theodolites, unusual, wake, warhorses',
}
/** In which region each of the nations is. */
const REGION_OF = [0, 1, 1, 1, 4, 0, 3, 3, 2, 2, 4, 4, 2, 4, 0, 0, 0, 1, 2, 3, 4, 2, 3, 3, 1]

// A salt for each column: columns of one row have nothing to do with each other.
let salts = 0
const random = (key, n) => `(hash(${key} * 1000 + ${++salts}, ${Number(seed)}) % ${n})::INTEGER`
const pick = (key, words) =>
  `list_extract(${list(WORDS[words])}, 1 + ${random(key, WORDS[words].split(',').length)})`
const money = (key, least, most) =>
  `((${least * 100} + ${random(key, (most - least) * 100 + 1)}) / 100.0)::DECIMAL(15,2)`
const text = (key, words) =>
  Array.from({ length: words }, () => pick(key, 'comments')).join(` || ' ' || `)
const id = (name, key) => `'${name}#' || lpad((${key})::VARCHAR, 9, '0')`
const phone = (key, nation) =>
  `(${nation} + 10) || '-' || (100 + ${random(key, 900)}) || '-' || (100 + ${random(key, 900)}) || '-' || (1000 + ${random(key, 9000)})`
const nationOf = (key, salt) => `(hash(${key} * 1000 + ${salt}, ${Number(seed)}) % 25)::INTEGER`
const price = part =>
  `((90000 + (${part} // 10) % 20001 + 100 * (${part} % 1000)) / 100.0)::DECIMAL(15,2)`
/** One of a part's four suppliers, by the specification's own formula. */
const supplierOf = (part, i) =>
  `(((${part} + (${i}) * (${suppliers} // 4 + (${part} - 1) // ${suppliers})) % ${suppliers}) + 1)::INTEGER`

const tables = {
  region: `
    SELECT k::INTEGER AS r_regionkey, list_extract(${list(WORDS.regions)}, k + 1) AS r_name,
      ${text('k', 6)} AS r_comment
    FROM range(5) t(k)`,
  nation: `
    SELECT k::INTEGER AS n_nationkey, list_extract(${list(WORDS.nations)}, k + 1) AS n_name,
      list_extract([${REGION_OF}], k + 1)::INTEGER AS n_regionkey, ${text('k', 6)} AS n_comment
    FROM range(25) t(k)`,
  // Of ten thousand, five have complaints and five are recommended.
  supplier: `
    SELECT k::INTEGER AS s_suppkey, ${id('Supplier', 'k')} AS s_name, ${text('k', 2)} AS s_address,
      ${nationOf('k', 901)} AS s_nationkey, ${phone('k', nationOf('k', 901))} AS s_phone,
      ${money('k', -999, 9999)} AS s_acctbal,
      ${text('k', 4)} || CASE ${random('k', 2000)}
        WHEN 0 THEN ' Customer slyly Complaints' WHEN 1 THEN ' Customer even Recommends'
        ELSE '' END AS s_comment
    FROM range(1, ${suppliers} + 1) t(k)`,
  part: `
    SELECT k::INTEGER AS p_partkey,
      ${Array.from({ length: 5 }, () => pick('k', 'colours')).join(` || ' ' || `)} AS p_name,
      'Manufacturer#' || m AS p_mfgr, 'Brand#' || m || (1 + ${random('k', 5)}) AS p_brand,
      ${['sizes', 'finishes', 'metals'].map(words => pick('k', words)).join(` || ' ' || `)} AS p_type,
      1 + ${random('k', 50)} AS p_size,
      ${['containers', 'vessels'].map(words => pick('k', words)).join(` || ' ' || `)} AS p_container,
      ${price('k')} AS p_retailprice, ${text('k', 2)} AS p_comment
    FROM (SELECT k, 1 + ${random('k', 5)} AS m FROM range(1, ${parts} + 1) t(k))`,
  partsupp: `
    SELECT k::INTEGER AS ps_partkey, ${supplierOf('k', 'i')} AS ps_suppkey,
      1 + ${random('(k * 4 + i)', 9999)} AS ps_availqty,
      ${money('(k * 4 + i)', 1, 1000)} AS ps_supplycost, ${text('(k * 4 + i)', 12)} AS ps_comment
    FROM range(1, ${parts} + 1) t(k), range(4) u(i) ORDER BY k, i`,
  customer: `
    SELECT k::INTEGER AS c_custkey, ${id('Customer', 'k')} AS c_name, ${text('k', 2)} AS c_address,
      ${nationOf('k', 902)} AS c_nationkey, ${phone('k', nationOf('k', 902))} AS c_phone,
      ${money('k', -999, 9999)} AS c_acctbal, ${pick('k', 'segments')} AS c_mktsegment,
      ${text('k', 8)} AS c_comment
    FROM range(1, ${customers} + 1) t(k)`,
}

const LAST_ORDER = `DATE '1998-08-02'`
const TODAY = `DATE '1995-06-17'`
const bare = `
  SELECT k, (k // 8 * 32 + k % 8)::BIGINT AS o_orderkey,
    DATE '1992-01-01' + ${random('k', `(${LAST_ORDER} - DATE '1992-01-01' + 1)`)} AS o_orderdate,
    1 + ${random('k', 7)} AS lines
  FROM range(1, ${orders} + 1) t(k)`
const lineitems = `
  SELECT o_orderkey AS l_orderkey, part::INTEGER AS l_partkey,
    ${supplierOf('part', random('row', 4))} AS l_suppkey, i::INTEGER AS l_linenumber,
    quantity::DECIMAL(15,2) AS l_quantity, (quantity * ${price('part')})::DECIMAL(15,2) AS l_extendedprice,
    (${random('row', 11)} / 100.0)::DECIMAL(15,2) AS l_discount,
    (${random('row', 9)} / 100.0)::DECIMAL(15,2) AS l_tax,
    CASE WHEN received > ${TODAY} THEN 'N' WHEN ${random('row', 2)} = 0 THEN 'R' ELSE 'A' END AS l_returnflag,
    CASE WHEN shipped > ${TODAY} THEN 'O' ELSE 'F' END AS l_linestatus,
    shipped AS l_shipdate, o_orderdate + 30 + ${random('row', 61)} AS l_commitdate, received AS l_receiptdate,
    ${pick('row', 'instructions')} AS l_shipinstruct, ${pick('row', 'modes')} AS l_shipmode,
    ${text('row', 3)} AS l_comment
  FROM (
    SELECT *, shipped + 1 + ${random('row', 30)} AS received FROM (
      SELECT *, k * 8 + i AS row, 1 + ${random('(k * 8 + i)', parts)} AS part,
        1 + ${random('(k * 8 + i)', 50)} AS quantity,
        o_orderdate + 1 + ${random('(k * 8 + i)', 121)} AS shipped
      FROM bare, range(1, 8) u(i) WHERE i <= lines AND k BETWEEN $from AND $to))
  ORDER BY l_orderkey, l_linenumber`
// Every third customer has no order.
const someCustomer = `(1 + 3 * ${random('k', Math.floor(customers / 3))} + ${random('k', 2)})::INTEGER`
const orderRows = `
  SELECT o_orderkey, ${someCustomer} AS o_custkey,
    CASE WHEN open = 0 THEN 'F' WHEN open = n THEN 'O' ELSE 'P' END AS o_orderstatus,
    total AS o_totalprice, o_orderdate, ${pick('k', 'priorities')} AS o_orderpriority,
    ${id('Clerk', `1 + ${random('k', Math.max(1, Math.round(Number(scale) * 1000)))}`)} AS o_clerk,
    0 AS o_shippriority,
    ${text('k', 4)} || CASE ${random('k', 80)} WHEN 0 THEN ' special idle requests' ELSE '' END AS o_comment
  FROM bare JOIN (
    SELECT l_orderkey, count(*) AS n, count(*) FILTER (l_linestatus = 'O') AS open,
      sum(l_extendedprice * (1 + l_tax) * (1 - l_discount))::DECIMAL(15,2) AS total
    FROM lines GROUP BY l_orderkey) ON l_orderkey = o_orderkey
  WHERE k BETWEEN $from AND $to ORDER BY o_orderkey`

const database = await (await DuckDBInstance.create()).connect()

async function write(table, number, select) {
  mkdirSync(join(folder, table), { recursive: true })
  const file = join(folder, table, `part-${number}.parquet`).replaceAll("'", "''")
  const format = '(FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 500000)'
  await database.run(`COPY (${select}) TO '${file}' ${format}`)
}

for (const [table, select] of Object.entries(tables)) await write(table, 0, select)
await database.run(`CREATE TABLE bare AS ${bare}`)
for (let number = 0; number < FILES; number++) {
  const from = Math.floor((orders * number) / FILES) + 1
  const to = Math.floor((orders * (number + 1)) / FILES)
  const between = select => select.replaceAll('$from', from).replaceAll('$to', to)
  await database.run(`CREATE OR REPLACE TABLE lines AS ${between(lineitems)}`)
  await write('lineitem', number, 'FROM lines')
  await write('orders', number, between(orderRows))
}
