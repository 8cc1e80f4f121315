//! Every component type of the specification, and the metadata of those that are built in somewhere here.
//!
//! Source: specification, component catalogue; middleware; secrets.

/// Types by family, without their prefix.
#[rustfmt::skip] // A table: one family, one paragraph.
pub(crate) const FAMILIES: &[(&str, &[&str])] = &[
    ("pubsub", &[
        "in-memory", "redis", "kafka", "rabbitmq", "mqtt3", "mqtt", "jetstream", "aws.snssqs", "snssqs", "azure.eventhubs",
        "azure.servicebus.queues", "azure.servicebusqueues", "azure.servicebus.topics", "azure.servicebus", "gcp.pubsub",
        "kubemq", "rocketmq", "solace.amqp",
    ]),
    ("state", &[
        "in-memory", "redis", "postgres", "postgresql", "yugabytedb", "yugabyte", "cockroachdb", "mysql", "sqlite", "sqlite3",
        "sqlserver", "mongodb", "etcd", "memcached", "cassandra", "aws.dynamodb", "azure.blobstorage", "azure.tablestorage",
        "azure.cosmosdb", "gcp.firestore", "jetstream", "zookeeper", "hazelcast", "hashicorp.consul", "consul", "rethinkdb",
        "aerospike", "couchbase", "coherence", "ravendb", "oracledatabase", "oci.objectstorage", "alicloud.tablestore",
        "cloudflare.workerskv",
    ]),
    ("bindings", &[
        "cron", "http", "localstorage", "redis", "postgres", "postgresql", "mysql", "kafka", "rabbitmq", "mqtt3", "mqtt", "smtp",
        "sftp", "graphql", "wasm", "aws.s3", "aws.sqs", "aws.sns", "aws.ses", "aws.kinesis", "aws.dynamodb",
        "azure.blobstorage", "azure.storagequeues", "azure.cosmosdb", "azure.cosmosdb.gremlinapi", "azure.eventgrid",
        "azure.eventhubs", "azure.openai", "azure.servicebus.queues", "azure.servicebusqueues", "azure.signalr", "gcp.bucket",
        "gcp.pubsub", "kubernetes", "influx", "apns", "postmark", "twilio.sms", "twilio.sendgrid", "commercetools",
        "cloudflare.queues", "alicloud.dingtalk.webhook", "dingtalk.webhook", "alicloud.oss", "alicloud.sls",
        "alicloud.tablestore", "huawei.obs", "dubbo", "alicloud.dubbo", "kubemq", "rocketmq", "rethinkdb.statechange",
        "zeebe.command", "zeebe.jobworker",
    ]),
    ("secretstores", &[
        "local.file", "local.env", "kubernetes", "hashicorp.vault", "azure.keyvault", "aws.secretmanager", "aws.parameterstore",
        "gcp.secretmanager", "alicloud.parameterstore", "huaweicloud.csms", "tencentcloud.ssm",
    ]),
    ("configuration", &["redis", "postgres", "postgresql", "azure.appconfig", "kubernetes"]),
    ("lock", &["redis"]),
    ("crypto", &["dapr.localstorage", "dapr.jwks", "dapr.kubernetes.secrets", "azure.keyvault"]),
    ("conversation", &[
        "echo", "openai", "azure.openai", "anthropic", "googleai", "mistral", "huggingface", "ollama", "aws.bedrock", "deepseek",
    ]),
    ("middleware", &[
        "http.routeralias", "http.uppercase", "http.bearer", "http.ratelimit", "http.oauth2", "http.oauth2clientcredentials",
        "http.opa", "http.routerchecker", "http.sentinel", "http.wasm",
    ]),
];

/// Resolvers, which the Configuration chooses by name.
pub(crate) const RESOLVERS: &[&str] = &[
    "mdns",
    "kubernetes",
    "sqlite",
    "nameformat",
    "hashicorp.consul",
    "consul",
    "aws.cloudmap",
];

/// Types with other versions than `v1`, with all of theirs.
const VERSIONS: &[(&str, &[&str])] = &[
    ("state.postgres", &["v1", "v2"]),
    ("state.postgresql", &["v1", "v2"]),
    ("state.cockroachdb", &["v1", "v2"]),
    ("state.sqlserver", &["v1", "v2"]),
    ("state.etcd", &["v1", "v2"]),
    ("state.azure.blobstorage", &["v1", "v2"]),
    ("state.yugabytedb", &["v2"]),
    ("state.yugabyte", &["v2"]),
];

/// Metadata that all types of a family take beside their own, for the sidecar reads them.
#[rustfmt::skip] // A table: one family, one line.
const FOR_ALL: &[(&str, &[&str])] = &[
    ("state", &["keyPrefix", "actorStateStore", "primaryEncryptionKey", "secondaryEncryptionKey", "outboxPublishPubsub", "outboxPublishTopic", "outboxPubsub", "outboxDiscardWhenMissingState"]),
    ("lock", &["keyPrefix"]),
];

/// Metadata of a type: its names, and which of them must be there.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) known: &'static [&'static str],
    pub(crate) required: &'static [&'static str],
}

const SQLITE_STATE: &[&str] = &[
    "connectionString",
    "url",
    "timeout",
    "timeoutInSeconds",
    "busyTimeout",
    "disableWAL",
    "tableName",
    "metadataTableName",
    "cleanupInterval",
    "cleanupIntervalInSeconds",
];

/// What a state store on PostgreSQL takes, in either version.
#[rustfmt::skip] // A list.
const POSTGRES_STATE: &[&str] = &[
    "connectionString", "url", "host", "hostaddr", "port", "database", "user", "password", "sslRootCert", "timeout", "timeoutInSeconds", "maxConns", "connectionMaxIdleTime", "queryExecMode", "useAzureAD", "useAWSIAM", "awsRegion", "region", "awsAccessKey", "accessKey", "awsSecretKey", "secretKey", "sessionToken", "assumeRoleArn", "sessionName", "tableName", "tablePrefix", "metadataTableName", "cleanupInterval", "cleanupIntervalInSeconds",
];

/// What a configuration store on PostgreSQL takes.
#[rustfmt::skip] // A list.
const POSTGRES_CONFIGURATION: &[&str] = &[
    "connectionString", "url", "host", "hostaddr", "port", "database", "user", "password", "sslRootCert", "timeout", "timeoutInSeconds", "maxConns", "connectionMaxIdleTime", "queryExecMode", "useAzureAD", "useAWSIAM", "awsRegion", "region", "awsAccessKey", "accessKey", "awsSecretKey", "secretKey", "sessionToken", "assumeRoleArn", "sessionName", "table", "notifyChannel", "pgNotifyChannel", "connMaxIdleTime",
];

/// Metadata of types; what a type that is not listed takes is not judged.
#[rustfmt::skip] // A table: one type, one line.
const KEYS: &[(&str, Keys)] = &[
    ("middleware.http.uppercase", keys(&["direction"], &[])),
    ("middleware.http.routerchecker", keys(&["rule"], &[])),
    ("middleware.http.ratelimit", keys(&["maxRequestsPerSecond"], &[])),
    ("middleware.http.bearer", keys(&["issuer", "issuerURL", "audience", "clientID", "jwksURL"], &[])),
    ("middleware.http.oauth2", keys(&["clientID", "clientSecret", "scopes", "authURL", "tokenURL", "redirectURL", "authHeaderName", "forceHTTPS", "pathFilter"], &[])),
    ("middleware.http.oauth2clientcredentials", keys(&["clientID", "clientSecret", "scopes", "tokenURL", "headerName", "endpointParamsQuery", "authStyle", "pathFilter"], &["clientID", "clientSecret", "scopes", "tokenURL", "headerName"])),
    ("middleware.http.opa", keys(&["rego", "defaultStatus", "includedHeaders", "readBody"], &["rego"])),
    ("middleware.http.sentinel", keys(&["appName", "logDir", "flowRules", "circuitBreakerRules", "hotSpotParamRules", "isolationRules", "systemRules"], &[])),
    ("middleware.http.wasm", keys(&["url", "guestConfig", "strictSandbox"], &["url"])),
    ("state.in-memory", keys(&[], &[])),
    ("state.sqlite", keys(SQLITE_STATE, &[])),
    ("state.sqlite3", keys(SQLITE_STATE, &[])),
    ("state.mysql", keys(&["connectionString", "schemaName", "tableName", "metadataTableName", "timeoutInSeconds", "cleanupInterval", "pemPath"], &["connectionString"])),
    ("state.etcd", keys(&["endpoints", "keyPrefixPath", "tlsEnable", "ca", "cert", "key", "maxTxnOps"], &["endpoints"])),
    ("state.mongodb", keys(&["connectionString", "host", "server", "username", "password", "databaseName", "collectionName", "writeconcern", "readconcern", "params", "operationTimeout"], &[])),
    ("state.postgresql", keys(POSTGRES_STATE, &[])),
    ("state.postgres", keys(POSTGRES_STATE, &[])),
    ("state.cockroachdb", keys(POSTGRES_STATE, &[])),
    ("state.yugabytedb", keys(POSTGRES_STATE, &[])),
    ("state.yugabyte", keys(POSTGRES_STATE, &[])),
    ("configuration.postgresql", keys(POSTGRES_CONFIGURATION, &["table"])),
    ("configuration.postgres", keys(POSTGRES_CONFIGURATION, &["table"])),
    ("state.memcached", keys(&["hosts", "maxIdleConnections", "timeout"], &["hosts"])),
    ("state.redis", keys(REDIS, &[])),
    ("configuration.redis", keys(REDIS, &[])),
    ("lock.redis", keys(REDIS, &["redisHost"])),
    ("secretstores.local.file", keys(&["secretsFile", "nestedSeparator", "multiValued"], &["secretsFile"])),
    ("secretstores.local.env", keys(&["prefix"], &[])),
    ("secretstores.hashicorp.vault", keys(&["vaultAddr", "enginePath", "vaultKVPrefix", "vaultKVUsePrefix", "vaultToken", "vaultTokenMountPath", "vaultValueType", "caPem", "caPath", "caCert", "skipVerify", "tlsServerName"], &[])),
    ("secretstores.gcp.secretmanager", keys(&["projectID", "project_id", "type", "privateKeyID", "private_key_id", "privateKey", "private_key", "clientEmail", "client_email", "clientID", "client_id", "authURI", "auth_uri", "tokenURI", "token_uri", "authProviderX509CertURL", "auth_provider_x509_cert_url", "clientX509CertURL", "client_x509_cert_url"], &[])),
    ("secretstores.kubernetes", keys(&["defaultNamespace", "kubeconfigPath"], &[])),
    ("configuration.kubernetes", keys(&["configMapName", "kubeconfigPath", "resyncPeriod"], &["configMapName"])),
    ("crypto.dapr.localstorage", keys(&["path"], &["path"])),
    ("crypto.dapr.jwks", keys(&["jwks", "requestTimeout", "minRefreshInterval"], &["jwks"])),
    ("crypto.dapr.kubernetes.secrets", keys(&["defaultNamespace", "kubeconfigPath"], &[])),
    ("state.aws.dynamodb", keys(&["table", "partitionKey", "ttlAttributeName", "region", "awsRegion", "endpoint", "accessKey", "secretKey", "sessionToken", "assumeRoleArn", "assumeRoleSessionName", "trustAnchorArn", "trustProfileArn"], &["table"])),
    ("secretstores.aws.secretmanager", keys(&["multipleKeyValuesPerSecret", "region", "awsRegion", "endpoint", "accessKey", "secretKey", "sessionToken", "assumeRoleArn", "assumeRoleSessionName", "trustAnchorArn", "trustProfileArn"], &[])),
    ("secretstores.aws.parameterstore", keys(&["prefix", "region", "awsRegion", "endpoint", "accessKey", "secretKey", "sessionToken", "assumeRoleArn", "assumeRoleSessionName", "trustAnchorArn", "trustProfileArn"], &[])),
    ("configuration.azure.appconfig", keys(&["host", "connectionString", "maxRetries", "retryDelay", "maxRetryDelay", "subscribePollInterval", "requestTimeout", "azureTenantId", "azureClientId", "azureClientSecret", "azureCertificate", "azureCertificateFile", "azureCertificatePassword", "azureEnvironment", "azureCloud", "azureAuthMethods", "azureADAuthMethods", "entraIDAuthMethods", "microsoftEntraIDAuthMethods", "spnTenantId", "spnClientId", "spnClientSecret", "spnCertificate", "spnCertificateFile", "spnCertificatePassword", "tenantId", "clientId", "clientSecret"], &[])),
    ("secretstores.azure.keyvault", keys(&["vaultName", "azureTenantId", "azureClientId", "azureClientSecret", "azureCertificate", "azureCertificateFile", "azureCertificatePassword", "azureEnvironment", "azureCloud", "azureAuthMethods", "azureADAuthMethods", "entraIDAuthMethods", "microsoftEntraIDAuthMethods", "spnTenantId", "spnClientId", "spnClientSecret", "spnCertificate", "spnCertificateFile", "spnCertificatePassword", "tenantId", "clientId", "clientSecret"], &["vaultName"])),
    ("state.azure.cosmosdb", keys(&["url", "database", "collection", "masterKey", "contentType", "azureTenantId", "azureClientId", "azureClientSecret", "azureCertificate", "azureCertificateFile", "azureCertificatePassword", "azureEnvironment", "azureCloud", "azureAuthMethods", "azureADAuthMethods", "entraIDAuthMethods", "microsoftEntraIDAuthMethods", "spnTenantId", "spnClientId", "spnClientSecret", "spnCertificate", "spnCertificateFile", "spnCertificatePassword", "tenantId", "clientId", "clientSecret"], &["url", "database", "collection"])),
    ("state.azure.blobstorage", keys(&["accountName", "storageAccount", "storageAccountName", "accountKey", "accessKey", "storageAccessKey", "storageAccountKey", "containerName", "container", "storageAccountContainer", "connectionString", "endpoint", "publicAccessLevel", "retryCount", "disableEntityManagement", "azureTenantId", "azureClientId", "azureClientSecret", "azureCertificate", "azureCertificateFile", "azureCertificatePassword", "azureEnvironment", "azureCloud", "azureAuthMethods", "azureADAuthMethods", "entraIDAuthMethods", "microsoftEntraIDAuthMethods", "spnTenantId", "spnClientId", "spnClientSecret", "spnCertificate", "spnCertificateFile", "spnCertificatePassword", "tenantId", "clientId", "clientSecret"], &[])),
    ("state.azure.tablestorage", keys(&["accountName", "storageAccount", "storageAccountName", "accountKey", "accessKey", "storageAccessKey", "storageAccountKey", "tableName", "table", "storageAccountTable", "cosmosDbMode", "serviceURL", "skipCreateTable", "azureTenantId", "azureClientId", "azureClientSecret", "azureCertificate", "azureCertificateFile", "azureCertificatePassword", "azureEnvironment", "azureCloud", "azureAuthMethods", "azureADAuthMethods", "entraIDAuthMethods", "microsoftEntraIDAuthMethods", "spnTenantId", "spnClientId", "spnClientSecret", "spnCertificate", "spnCertificateFile", "spnCertificatePassword", "tenantId", "clientId", "clientSecret"], &[])),
];

const REDIS: &[&str] = &[
    "redisHost",
    "redisPort",
    "redisUsername",
    "redisPassword",
    "sentinelUsername",
    "sentinelPassword",
    "redisDB",
    "redisType",
    "failover",
    "sentinelMasterName",
    "enableTLS",
    "insecureSkipTLSVerify",
    "clientCert",
    "clientKey",
    "redisMaxRetries",
    "maxRetries",
    "redisMinRetryInterval",
    "maxRetryBackoff",
    "redisMaxRetryInterval",
    "dialTimeout",
    "readTimeout",
    "writeTimeout",
    "poolSize",
    "minIdleConns",
    "maxConnAge",
    "poolTimeout",
    "idleTimeout",
    "idleCheckFrequency",
    "ttlInSeconds",
    "queryIndexes",
    "useEntraID",
    "useOIDC",
    "oidcTokenEndpoint",
    "oidcClientID",
    "oidcClientAssertionCert",
    "oidcClientAssertionKey",
    "oidcResource",
    "oidcAudience",
    "oidcKid",
    "oidcScopes",
    "oidcCACert",
];

const fn keys(known: &'static [&'static str], required: &'static [&'static str]) -> Keys {
    Keys { known, required }
}

/// All types in full.
pub(crate) fn all() -> impl Iterator<Item = String> {
    FAMILIES
        .iter()
        .flat_map(|(family, names)| names.iter().map(move |name| format!("{family}.{name}")))
}

/// Whether there is such a type; letter case counts in the family only.
pub(crate) fn is_known(kind: &str) -> bool {
    let Some((family, name)) = kind.split_once('.') else {
        return false;
    };
    let names = FAMILIES.iter().find(|(known, _)| *known == family);
    names.is_some_and(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

/// The versions that a type has.
pub(crate) fn versions(kind: &str) -> &'static [&'static str] {
    let found = VERSIONS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(kind));
    found.map_or(&["v1", "v0", ""], |(_, versions)| versions)
}

/// Whether a name is metadata that every type of the family takes.
pub(crate) fn is_for_all(kind: &str, name: &str) -> bool {
    let family = kind.split_once('.').map_or(kind, |(family, _)| family);
    let known = FOR_ALL.iter().filter(|(of, _)| *of == family);
    known
        .flat_map(|(_, names)| *names)
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// The metadata of a type, if it is known.
pub(crate) fn metadata(kind: &str) -> Option<&'static Keys> {
    let found = KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(kind));
    found.map(|(_, keys)| keys)
}
