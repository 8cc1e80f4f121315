// Uses the building blocks with the unmodified JavaScript SDK, by HTTP and by gRPC where it can, and prints what came back.
// Reads DAPR_HTTP_PORT and DAPR_GRPC_PORT as every app does. The components are `store`, `vault`, `settings`, `locks` and
// `keys`. Prints `subscribed` once it waits for a change of the setting `colour`, and an object at the end.

const { createRequire } = require("node:module");
const path = require("node:path");
const load = createRequire(path.join(process.env.SDK_MODULES, "package.json"));
const { DaprClient, CommunicationProtocolEnum } = load("@dapr/dapr");

const { HTTP, GRPC } = CommunicationProtocolEnum;

function connect(communicationProtocol) {
  const daprPort = communicationProtocol === HTTP ? process.env.DAPR_HTTP_PORT : process.env.DAPR_GRPC_PORT;
  return new DaprClient({ daprHost: "127.0.0.1", daprPort, communicationProtocol, logger: { service: silent } });
}

const silent = { error() {}, warn() {}, info() {}, verbose() {}, debug() {} };

async function state(client, prefix) {
  const key = (name) => `${prefix}-${name}`;
  const saved = await client.state.save("store", [
    { key: key("a"), value: { n: 1 } },
    { key: key("b"), value: "text" },
  ]);
  const read = await client.state.get("store", key("a"));
  // By HTTP the error is in the answer, by gRPC it is thrown.
  const stale = await client.state.save("store", [{ key: key("a"), value: 2, etag: "999999" }]).then(
    (answer) => answer.error,
    (error) => error,
  );
  await client.state.transaction("store", [
    { operation: "upsert", request: { key: key("c"), value: "three" } },
    { operation: "delete", request: { key: key("b") } },
  ]);
  const bulk = await client.state.getBulk("store", [key("a"), key("b"), key("c")]);
  await client.state.delete("store", key("a"));
  const deleted = await client.state.get("store", key("a"));
  return {
    saved: !saved.error,
    read,
    stale: String(stale && stale.message),
    bulk: Object.fromEntries(bulk.map((item) => [item.key, item.data || null])),
    deleted: deleted || null,
  };
}

async function secrets(client) {
  const missing = await client.secret.get("vault", "nothing").then(
    () => null,
    (error) => String(error.message),
  );
  return { one: await client.secret.get("vault", "db"), all: await client.secret.getBulk("vault"), missing };
}

async function configuration(client) {
  const { items } = await client.configuration.get("settings", ["colour"]);
  let told;
  const event = new Promise((resolve) => (told = resolve));
  const stream = await client.configuration.subscribeWithKeys("settings", ["colour"], async (event) => {
    if (event.items.colour) told(event.items.colour);
  });
  console.log("subscribed");
  const change = await event;
  await stream.stop();
  return { value: [items.colour.value, items.colour.version], change: [change.value, change.version] };
}

async function lock(client) {
  const first = (await client.lock.lock("locks", "gate", "me", 60)).success;
  const other = (await client.lock.lock("locks", "gate", "you", 60)).success;
  const strange = (await client.lock.unlock("locks", "gate", "you")).status;
  const own = (await client.lock.unlock("locks", "gate", "me")).status;
  return { first, other, strange, own };
}

async function crypto(client) {
  const plain = Buffer.from("hello ".repeat(20000));
  const options = { componentName: "keys", keyName: "wrap", keyWrapAlgorithm: "AES" };
  const document = await client.crypto.encrypt(plain, options);
  const decrypted = await client.crypto.decrypt(document, { componentName: "keys" });
  return { scheme: document.subarray(0, 14).toString(), same: decrypted.equals(plain) };
}

async function main() {
  const [http, grpc] = [connect(HTTP), connect(GRPC)];
  const answer = {
    http: { state: await state(http, "http"), secrets: await secrets(http) },
    grpc: { state: await state(grpc, "grpc"), secrets: await secrets(grpc) },
    configuration: await configuration(grpc),
    lock: await lock(grpc),
    crypto: await crypto(grpc),
  };
  console.log(JSON.stringify(answer));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
