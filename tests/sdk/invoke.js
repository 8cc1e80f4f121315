// Calls an app with the unmodified JavaScript SDK, by HTTP and by gRPC, and prints what came back.
// Reads DAPR_HTTP_PORT and DAPR_GRPC_PORT as every app does. Usage: node invoke.js APP_ID

const { createRequire } = require("node:module");
const path = require("node:path");
const load = createRequire(path.join(process.env.SDK_MODULES, "package.json"));
const { DaprClient, HttpMethod, CommunicationProtocolEnum } = load("@dapr/dapr");

const appId = process.argv[2];

async function call(appId, protocol, port) {
  const client = new DaprClient({
    daprHost: "127.0.0.1",
    daprPort: port,
    communicationProtocol: protocol,
    logger: { level: "error" },
  });
  const answer = await client.invoker.invoke(appId, "neworder", HttpMethod.POST, { orderId: "42" });
  await client.stop();
  return answer;
}

async function main() {
  const http = await call(appId, CommunicationProtocolEnum.HTTP, process.env.DAPR_HTTP_PORT);
  const grpc = await call(appId, CommunicationProtocolEnum.GRPC, process.env.DAPR_GRPC_PORT);
  // The SDK's own error carries the sidecar's text.
  const refused = await call("nobody", CommunicationProtocolEnum.HTTP, process.env.DAPR_HTTP_PORT).then(
    () => null,
    (error) => String(error.message),
  );
  console.log(JSON.stringify({ http, grpc, refused }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
