#!/bin/sh
# deploy/validate.sh: validates the compose and Kubernetes manifests against the official schemas, without a cluster or an image, and
# the AsyncAPI document with AsyncAPI's own parser.
# Installs into target/tools: kubernetes-validate (PyPI; it brings the API's schemas with it), compose-go (Go; its schema is the
# Compose specification's) and @asyncapi/parser (npm). Needs python3 with venv, go and node. tests/it/manifests.rs and
# tests/contract/asyncapi.rs check what the schemas cannot.
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
compose_go=v2.9.0
[ -x "$tools/python/bin/kubernetes-validate" ] || {
  python3 -m venv "$tools/python"
  "$tools/python/bin/pip" install -q 'kubernetes-validate==1.37.0' 'jsonschema>=4.21' pyyaml
}
mkdir -p "$tools/go"
[ -s "$tools/go/compose-spec-$compose_go.json" ] || {
  module=$(cd "$tools/go" && go mod download -json "github.com/compose-spec/compose-go/v2@$compose_go" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
  cp "$module/schema/compose-spec.json" "$tools/go/compose-spec-$compose_go.json"
}
mkdir -p "$tools/node"
[ -d "$tools/node/node_modules/@asyncapi/parser" ] ||
  npm install --silent --no-audit --no-fund --prefix "$tools/node" '@asyncapi/parser@3.6.6'
(cd "$tools/node" && node - "$OLDPWD/deploy/schemas/asyncapi.json") <<'NODE'
const { Parser, fromFile } = require("@asyncapi/parser");
fromFile(new Parser(), process.argv[2]).parse().then(({ document, diagnostics }) => {
  const mistakes = diagnostics.filter((found) => found.severity <= 1);
  for (const { path, message } of mistakes) console.log(`asyncapi.json: ${path.join(".")}: ${message}`);
  console.log(`${document ? document.channels().all().length : 0} topics checked, ${mistakes.length} mistakes`);
  process.exit(mistakes.length > 0 || !document ? 1 : 0);
});
NODE
"$tools/python/bin/python" - "$tools/go/compose-spec-$compose_go.json" <<'PYTHON'
import json, sys, glob, jsonschema, kubernetes_validate, yaml

wrong = checked = 0
def tell(file, what):
    global wrong
    wrong += 1
    print(f"{file}: {what}")

schema = json.load(open(sys.argv[1]))
checker = jsonschema.Draft7Validator(schema)
for error in checker.iter_errors(yaml.safe_load(open("deploy/compose.yml"))):
    tell("deploy/compose.yml", f"{error.json_path}: {error.message}")
checked += 1
for file in sorted(glob.glob("deploy/kubernetes/*.yaml")):
    for document in yaml.safe_load_all(open(file)):
        if document["kind"] == "Kustomization":
            continue
        checked += 1
        try:
            kubernetes_validate.validate(document, "1.34", strict=True)
        except kubernetes_validate.ValidationError as error:
            tell(file, f"{document['kind']}: {'.'.join(map(str, error.path))}: {error.message}")
print(f"{checked} documents checked, {wrong} mistakes")
sys.exit(wrong > 0)
PYTHON
