//! Where CRL files are: a local directory, or a bucket of an S3 service.
//!
//! Either way a file appears whole or not at all, and is durable when a write returns.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use serde::{Deserialize, Serialize};

/// Longest time of one request to a bucket.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time for which a request that failed is repeated.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

const MAX_RETRIES: usize = 3;

/// The region of buckets whose configuration names none.
const DEFAULT_REGION: &str = "us-east-1";

/// A store of files.
pub type Blobs = Arc<dyn ObjectStore>;

/// Why there is no blob store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The directory cannot be created.
    #[error("the storage directory cannot be created")]
    Directory(#[source] std::io::Error),
    /// The directory or the bucket cannot be used.
    #[error("the CRL storage cannot be used")]
    Store(#[from] object_store::Error),
    /// The configuration of the bucket lacks something.
    #[error("filesystem_storage.{0} is missing")]
    Missing(&'static str),
}

/// A blob store in a local directory, which is created when it is missing. Files are on disk
/// when a write returns.
///
/// # Errors
///
/// When the directory cannot be created or used.
pub fn local_blobs(directory: &Path) -> Result<Blobs, BlobError> {
    std::fs::create_dir_all(directory).map_err(BlobError::Directory)?;
    let store = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
    Ok(Arc::new(store))
}

/// A bucket, as the block `filesystem_storage` of type `s3` describes it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct S3Config {
    /// The bucket. Required.
    pub bucket_name: Option<String>,
    /// Who the service is asked as. Default `default`.
    pub auth_method: S3Auth,
    /// Address of the service, for example `https://minio.example:9000`; the one of AWS by default.
    pub endpoint_url: Option<String>,
    /// With `static`: the access key.
    pub access_key_id: Option<String>,
    /// With `static`: its secret.
    pub secret_access_key: Option<String>,
    /// With `static`: a token of temporary keys.
    pub session_token: Option<String>,
    /// Default `us-east-1`.
    pub region: Option<String>,
    /// With `role`: the role, which is taken on with the token in the file that
    /// `AWS_WEB_IDENTITY_TOKEN_FILE` names.
    pub role_arn: Option<String>,
    /// Whether the bucket stands in the path of addresses, as services beside AWS mostly want it. Default:
    /// `true` with an `endpoint_url`.
    pub path_style: Option<bool>,
}

/// Who a bucket's service is asked as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum S3Auth {
    /// Whoever the environment or the machine says: `AWS_…` variables, the machine's or container's role.
    #[default]
    Default,
    /// The holder of the key in the configuration.
    Static,
    /// A role.
    Role,
}

/// Without the secrets.
impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("bucket_name", &self.bucket_name)
            .field("endpoint_url", &self.endpoint_url)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl S3Config {
    /// Checks that nothing is missing, without I/O.
    ///
    /// # Errors
    ///
    /// [`BlobError::Missing`] names the key.
    pub fn validate(&self) -> Result<(), BlobError> {
        let needed: &[(&'static str, &Option<String>)] = match self.auth_method {
            S3Auth::Default => &[],
            S3Auth::Static => &[
                ("access_key_id", &self.access_key_id),
                ("secret_access_key", &self.secret_access_key),
            ],
            S3Auth::Role => &[("role_arn", &self.role_arn)],
        };
        let bucket = ("bucket_name", &self.bucket_name);
        let is_missing = |value: &Option<String>| value.as_deref().is_none_or(str::is_empty);
        let mut all = [bucket].into_iter().chain(needed.iter().copied());
        match all.find(|(_, value)| is_missing(value)) {
            Some((name, _)) => Err(BlobError::Missing(name)),
            None => Ok(()),
        }
    }
}

/// A blob store in a bucket. Nothing is asked of the service yet.
///
/// # Errors
///
/// When the configuration is not one to ask with.
pub fn s3_blobs(config: &S3Config) -> Result<Blobs, BlobError> {
    config.validate()?;
    let endpoint = config.endpoint_url.as_deref().unwrap_or_default();
    let is_plain = endpoint.starts_with("http://");
    let path_style = config.path_style.unwrap_or(!endpoint.is_empty());
    let mut builder = match config.auth_method {
        S3Auth::Static => AmazonS3Builder::new(),
        S3Auth::Default | S3Auth::Role => AmazonS3Builder::from_env(),
    };
    let values = [
        (AmazonS3ConfigKey::Bucket, &config.bucket_name),
        (AmazonS3ConfigKey::Endpoint, &config.endpoint_url),
        (AmazonS3ConfigKey::AccessKeyId, &config.access_key_id),
        (
            AmazonS3ConfigKey::SecretAccessKey,
            &config.secret_access_key,
        ),
        (AmazonS3ConfigKey::Token, &config.session_token),
        (AmazonS3ConfigKey::Region, &config.region),
        (AmazonS3ConfigKey::RoleArn, &config.role_arn),
    ];
    for (key, value) in values {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            builder = builder.with_config(key, value);
        }
    }
    if builder
        .get_config_value(&AmazonS3ConfigKey::Region)
        .is_none()
    {
        builder = builder.with_region(DEFAULT_REGION);
    }
    let retry = RetryConfig {
        max_retries: MAX_RETRIES,
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    };
    let client = ClientOptions::new()
        .with_timeout(REQUEST_TIMEOUT)
        .with_allow_http(is_plain);
    let store = builder
        .with_virtual_hosted_style_request(!path_style)
        .with_client_options(client)
        .with_retry(retry)
        .build()?;
    Ok(Arc::new(store))
}

#[cfg(test)]
mod tests {
    use super::{BlobError, S3Config, s3_blobs};

    fn config(json: &str) -> S3Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_block_that_lacks_something_is_refused_by_name() {
        let cases = [
            ("{}", "bucket_name"),
            (
                r#"{"bucket_name": "crls", "auth_method": "static"}"#,
                "access_key_id",
            ),
            (
                r#"{"bucket_name": "crls", "auth_method": "static", "access_key_id": "a"}"#,
                "secret_access_key",
            ),
            (
                r#"{"bucket_name": "crls", "auth_method": "role", "role_arn": ""}"#,
                "role_arn",
            ),
        ];
        for (json, expected) in cases {
            match s3_blobs(&config(json)) {
                Err(BlobError::Missing(name)) => assert_eq!(name, expected),
                other => panic!("{json}: {other:?}"),
            }
        }
    }
}
