// The double with what tests of state need and it lacks: a document that is not there is not found, documents expire,
// the operations of a batch are done together or not at all and take their partition from the head of the request.
const { AsyncLocalStorage } = require("async_hooks");
const lib = "@vercel/cosmosdb-server/lib";
const heads = new AsyncLocalStorage();

const partition = require(lib + "/utils/get-partition-from-header");
const parse = partition.parsePartitionKey;
partition.parsePartitionKey = (key, id) => parse(key || heads.getStore()["x-ms-documentdb-partitionkey"], id);

// Documents expire.
const Items = require(lib + "/account/items").default;
const written = new WeakMap();
const set = Items.prototype._set;
Items.prototype._set = function (data) {
  const stored = set.call(this, data);
  written.set(this._data.get(data._rid), Date.now());
  return stored;
};
const sweep = (items) => {
  if (items.sweeping) return;
  items.sweeping = true;
  for (const item of [...items._data.values()]) {
    const data = item.read();
    const end = data && data.ttl > 0 ? written.get(item) + data.ttl * 1000 : Infinity;
    if (end <= Date.now()) items.delete(data.id, items._getPartition(data));
  }
  items.sweeping = false;
};
for (const name of ["_item", "query"]) {
  const does = Items.prototype[name];
  Items.prototype[name] = function (...given) {
    sweep(this);
    return does.apply(this, given);
  };
}

const json = require(lib + "/json").default;
const documents = require(lib + "/handler/_document-operations");
const upsert = documents.upsertOperation;
documents.upsertOperation = (collection, input) =>
  input.resourceBody.ttl === 0
    ? { statusCode: 400, body: { code: "BadRequest", message: "The input ttl '0' is invalid." } }
    : upsert(collection, input);
const batch = require(lib + "/handler/batch-documents");
batch.default = async (account, req, res, { dbId, collId }) => {
  const operations = await json(req);
  const collection = account.database(dbId).collection(collId);
  const { documents: all } = collection;
  const before = [new Map(all._data), new Map(all._index)];
  const does = { Upsert: documents.upsertOperation, Delete: documents.deleteOperation };
  const results = [];
  let failed = -1;
  for (const [place, operation] of operations.entries()) {
    const result = does[operation.operationType](collection, operation);
    results.push({ statusCode: result.statusCode, eTag: result.body && result.body._etag });
    if (result.statusCode >= 400) {
      failed = place;
      break;
    }
  }
  if (failed < 0) return results;
  [all._data, all._index] = before;
  res.statusCode = 207;
  return operations.map((_, place) => ({ statusCode: place === failed ? results[failed].statusCode : 424 }));
};

const { createHttpServer } = require(lib);
const server = createHttpServer({ keepAlive: true });
server.prependListener("request", (req) => {
  heads.enterWith(req.headers);
  if (req.method === "GET") req.headers["x-ms-documentdb-query-enablecrosspartition"] = "true";
});
server.listen(Number(process.argv[1]), "127.0.0.1");
