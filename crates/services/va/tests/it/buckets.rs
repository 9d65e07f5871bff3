//! CRL files in a bucket, of a server that speaks S3.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration as StdDuration;

use lamassu_va::{Blobs, S3Config, VaConfig, s3_blobs};
use lamassu_x509::pem::pem_to_der;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use serde_json::json;

use crate::support::{World, whole_seconds};

/// The server; gone when dropped.
struct Moto {
    child: Child,
    port: u16,
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Its program: in `LAMASSU_TEST_MOTO`, or on `PATH`.
#[expect(
    clippy::disallowed_methods,
    reason = "where a test finds its tools is no configuration of the program"
)]
fn program() -> PathBuf {
    let from_variable = std::env::var_os("LAMASSU_TEST_MOTO").map(PathBuf::from);
    let on_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|directory| directory.join("moto_server").is_file())
    };
    from_variable
        .or_else(on_path)
        .map(|directory| directory.join("moto_server"))
        .filter(|program| program.is_file())
        .expect("moto is neither in LAMASSU_TEST_MOTO nor on PATH: `make test` installs it")
}

impl Moto {
    async fn start() -> Self {
        let reserved = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = reserved.local_addr().unwrap().port();
        drop(reserved);
        let child = Command::new(program())
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { child, port };
        let mut tick = tokio::time::interval(StdDuration::from_millis(50));
        let answers = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_err()
            {
                tick.tick().await;
            }
        };
        tokio::time::timeout(StdDuration::from_secs(60), answers)
            .await
            .expect("the server answers");
        moto.make_bucket("crls");
        moto
    }

    fn make_bucket(&self, name: &str) {
        let url = format!("http://127.0.0.1:{}/{name}", self.port);
        let output = Command::new("curl")
            .args(["-sS", "--fail", "-X", "PUT", &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn config(&self) -> S3Config {
        let config = json!({
            "bucket_name": "crls",
            "auth_method": "static",
            "endpoint_url": format!("http://127.0.0.1:{}", self.port),
            "access_key_id": "an-id",
            "secret_access_key": "a-secret",
        });
        serde_json::from_value(config).unwrap()
    }

    fn blobs(&self) -> Blobs {
        s3_blobs(&self.config()).unwrap()
    }
}

async fn names(blobs: &Blobs, folder: &str) -> Vec<String> {
    let listed = blobs
        .list_with_delimiter(Some(&Path::from(folder)))
        .await
        .unwrap();
    let mut names: Vec<String> = listed
        .objects
        .iter()
        .map(|object| object.location.filename().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn crls_are_kept_in_a_bucket() {
    let moto = Moto::start().await;
    let blobs = moto.blobs();
    let world = World::over(moto.blobs(), VaConfig::default()).await;
    world.follow_events();
    let ca = world.root("root-a").await;
    world.settle().await;
    let issued = world.issue(&ca, "device-1").await;
    world.revoke(&issued, "KeyCompromise").await;
    world.settle().await;
    let folder = format!("pki/va/crl/{}", ca.ski);
    assert_eq!(names(&blobs, &folder).await, ["1.crl", "2.crl"]);
    // The file that tools know, and what is served, also by a process that made none of it.
    let served = world.crl(&ca).await;
    let stored = blobs.get(&Path::from(format!("{folder}/2.crl"))).await;
    let stored = stored.unwrap().bytes().await.unwrap();
    assert_eq!(pem_to_der(&stored).unwrap(), served.as_der().as_ref());
    let (_, router) = world.replica().await;
    let answer = crate::support::get(&router, &format!("/crl/{}", ca.ski), &[]).await;
    assert_eq!(&answer.body, served.as_der());
    // Old ones go, and delta CRLs have a folder of their own.
    world
        .set_options(&ca, json!({ "delta_validity": "1d" }))
        .await;
    world.settle().await;
    assert_eq!(names(&blobs, &format!("{folder}/delta")).await, ["4.crl"]);
    for _ in 0..11 {
        world.clock.advance(time::Duration::hours(168));
        world.run_crl_job().await;
    }
    assert_eq!(names(&blobs, &folder).await.len(), 5);
    let now = whole_seconds(world.db.now());
    assert_eq!(world.crl(&ca).await.this_update(), now);
}

#[tokio::test]
async fn what_a_crash_left_in_a_bucket_is_never_served() {
    let moto = Moto::start().await;
    let blobs = moto.blobs();
    let world = World::over(moto.blobs(), VaConfig::default()).await;
    world.follow_events();
    let ca = world.root("root-a").await;
    // Somebody wrote half a list under the name that the first one would have, and died.
    let path = Path::from(format!("pki/va/crl/{}/1.crl", ca.ski));
    let half = "-----BEGIN X509 CRL-----\nMIIB";
    blobs.put(&path, half.into()).await.unwrap();
    world.settle().await;
    assert_eq!(world.listed(&ca).await.0, 1);
    let (_, router) = world.replica().await;
    let answer = crate::support::get(&router, &format!("/crl/{}", ca.ski), &[]).await;
    assert_eq!(&answer.body, world.crl(&ca).await.as_der());
    // The bucket is gone for a while: what is in memory is served, and nothing else is made up.
    drop(moto);
    assert_eq!(world.listed(&ca).await.0, 1);
    let (_, router) = world.replica().await;
    let away = crate::support::get(&router, &format!("/crl/{}", ca.ski), &[]).await;
    assert_eq!(
        away.refusal(),
        (503, "validation data unavailable".to_owned())
    );
}
