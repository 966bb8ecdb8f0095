//! An object store for one test: S3Proxy, an S3 server, from the jar that `make test` installs.
//!
//! No server for tests has the API of Google Cloud Storage that its clients use. That API is the one of S3 with
//! other headers for conditions, so a translator stands before S3Proxy.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;
use ureq::http::Request;

use crate::support::{port, wait};

/// The only bucket.
const BUCKET: &str = "lake";
const KEY: &str = "fresnel";
const SETTINGS: &str = "s3proxy.conf";
const SECRET: &str = "secret of the test";

/// A store that ends with the test.
pub(crate) struct ObjectStore {
    server: Child,
    folder: TempDir,
    port: u16,
    /// The URL of a place in its bucket.
    pub(crate) url: &'static str,
    /// The environment of its clients.
    variables: Vec<(&'static str, String)>,
}

fn jar() -> Option<PathBuf> {
    let files = fs::read_dir(std::env::var_os("FRESNEL_S3PROXY")?).ok()?;
    let mut files = files.filter_map(|file| Some(file.ok()?.path()));
    files.find(|file| file.extension().is_some_and(|it| it == "jar"))
}

/// Returns true if the jar exists.
pub(crate) fn there() -> bool {
    jar().is_some()
}

impl ObjectStore {
    /// Starts a store with the API of S3.
    pub(crate) fn s3() -> Self {
        let (server, folder, port) = start(&format!(
            "s3proxy.authorization=aws-v2-or-v4\ns3proxy.identity={KEY}\ns3proxy.credential={SECRET}\n"
        ));
        let variables = [
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ];
        Self { server, folder, port, url: "s3://lake/history", variables: variables.into() }
    }

    /// Starts a store with the API of Google Cloud Storage.
    pub(crate) fn gcs() -> Self {
        let (server, folder, port) = start("s3proxy.authorization=none\n");
        let key = serde_json::json!({
            "gcs_base_url": format!("http://127.0.0.1:{}", translator(port)),
            "disable_oauth": true,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        });
        let variables = vec![("GOOGLE_SERVICE_ACCOUNT_KEY", key.to_string())];
        Self { server, folder, port, url: "gs://lake/history", variables }
    }

    /// Returns the environment of its clients.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// Ends the server. Its objects stay.
    pub(crate) fn stop(&mut self) {
        self.server.kill().and_then(|()| self.server.wait()).expect("it is ours");
    }

    /// Starts the server again.
    pub(crate) fn start_again(&mut self) {
        self.server = serve(&self.folder, self.port);
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Starts S3Proxy with some settings, and waits until it answers. Returns its port.
fn start(settings: &str) -> (Child, TempDir, u16) {
    let folder = tempfile::tempdir().expect("room");
    let port = port::free();
    fs::create_dir_all(folder.path().join("objects").join(BUCKET)).expect("room");
    let settings = format!(
        "s3proxy.endpoint=http://127.0.0.1:{port}\njclouds.provider=filesystem-nio2\n\
         jclouds.filesystem.basedir={}\n{settings}",
        folder.path().join("objects").display()
    );
    fs::write(folder.path().join(SETTINGS), settings).expect("room");
    let server = serve(&folder, port);
    (server, folder, port)
}

/// Starts S3Proxy in its folder, and waits until it answers.
fn serve(folder: &TempDir, port: u16) -> Child {
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-jar"]);
    java.arg(jar().expect("make test says where it is"))
        .arg("--properties")
        .arg(folder.path().join(SETTINGS));
    let server = java.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut server = server.expect("java starts");
    wait::until("the object store answers", || {
        let ended = server.try_wait().expect("it is ours");
        assert!(ended.is_none(), "it ended before it was ready: {ended:?}");
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    server
}

/// Starts a server that translates requests of Google Cloud Storage for an S3 server. Returns its port. It ends
/// with the process of the tests.
fn translator(s3: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || while translate(&stream, s3).is_some() {});
        }
    });
    port
}

/// Translates one request and its response; none at the end of the connection.
fn translate(mut stream: &TcpStream, s3: u16) -> Option<()> {
    let mut reader = BufReader::with_capacity(1, stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first()?.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let mut request = Request::builder().method(method).uri(format!("http://127.0.0.1:{s3}{path}"));
    let mut n_bytes = 0;
    for line in &lines[1..] {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        match name.to_lowercase().as_str() {
            "content-length" => n_bytes = value.parse().ok()?,
            "x-goog-if-generation-match" if value == "0" => {
                request = request.header("if-none-match", "*");
            }
            "x-goog-if-generation-match" => request = request.header("if-match", value),
            "range" | "content-type" => request = request.header(name, value),
            _ => {}
        }
    }
    let mut body = vec![0; n_bytes];
    reader.read_exact(&mut body).ok()?;
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .build();
    let response = ureq::Agent::from(agent).run(request.body(body).ok()?).ok()?;
    let (head, mut body) = response.into_parts();
    let mut lines = vec![format!("HTTP/1.1 {}", head.status)];
    let mut length = None;
    for (name, value) in &head.headers {
        let value = value.to_str().ok()?;
        match name.as_str() {
            "content-length" => length = Some(value.to_owned()),
            "transfer-encoding" | "connection" => {}
            "etag" => {
                lines.push(format!("etag: {value}"));
                lines.push(format!("x-goog-generation: {value}"));
            }
            name => lines.push(format!("{name}: {value}")),
        }
    }
    let body = body.with_config().limit(u64::MAX).read_to_vec().ok()?;
    // The response to HEAD has the length of a body that it does not have.
    let length = length.filter(|_| method == "HEAD").unwrap_or_else(|| body.len().to_string());
    let text = lines.join("\r\n");
    write!(stream, "{text}\r\ncontent-length: {length}\r\n\r\n").ok()?;
    stream.write_all(&body).ok()
}
