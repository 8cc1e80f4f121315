#!/usr/bin/env bash
# Installs what the tests need beside Rust: Debian packages, and in target/test-tools the Python and
# JavaScript SDKs and an OpenTelemetry collector. Runs again only when this file has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
./tests/apt.sh openssl curl prometheus nghttp2-client iproute2 python3-venv
./tests/apt.sh etcd-server memcached mariadb-server
./tests/apt.sh redis-server redis-sentinel zookeeper
./tests/apt.sh postgresql
command -v node >/dev/null && command -v npm >/dev/null || ./tests/apt.sh nodejs npm

tools=$(pwd)/target/test-tools
stamp=$tools/.installed-$(sha256sum tests/install.sh | cut -c1-16)
[ -f "$stamp" ] && exit 0
rm -rf "$tools"
mkdir -p "$tools/node"

echo "installing the Python SDK and the collector"
python3 -m venv "$tools/python"
"$tools/python/bin/pip" install --quiet --disable-pip-version-check 'dapr[grpc]==1.19.0' rotel==0.0.1a15 cryptography

echo "installing doubles of cloud services"
"$tools/python/bin/pip" install --quiet --disable-pip-version-check 'moto[dynamodb,secretsmanager,ssm]==5.2.5' flask flask-cors

echo "installing the JavaScript SDK"
printf '{"private":true}\n' >"$tools/node/package.json"
(cd "$tools/node" && npm install --silent --no-fund --no-audit --ignore-scripts @dapr/dapr@3.18.0 \
    @vercel/cosmosdb-server@1.0.1 azurite@3.35.0)
touch "$stamp"
