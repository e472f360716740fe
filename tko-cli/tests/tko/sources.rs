//! Where packages come from: files, folders, archives, git repositories, web servers.

use crate::harness::{Server, tko};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Files of a package in the order in which they count, and one that is none of it.
const FILES: [(&str, &str); 4] = [
    ("10.yaml", "one"),
    ("20/a.yml", "two"),
    ("20/b.yaml", "three"),
    ("README.md", ""),
];

fn config(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

fn written(root: &Path) {
    for (path, name) in FILES {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        fs::write(path, config(name)).expect("a file");
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Names of the resources that a template registered from there has.
async fn names(server: &Server, url: &str) -> Vec<String> {
    server
        .tko("template register it --url")
        .arg(url)
        .good()
        .await;
    let got = server.tko("template get it -o json").good().await.json();
    got.as_array()
        .expect("a list")
        .iter()
        .map(|resource| {
            resource["metadata"]["name"]
                .as_str()
                .expect("a name")
                .to_owned()
        })
        .collect()
}

fn archive_of(prefix: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    // Not in order of name: the order of the archive does not count.
    for (path, name) in FILES.into_iter().rev() {
        let content = config(name);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{prefix}{path}"), content.as_bytes())
            .expect("into memory");
    }
    let gzip = tar.into_inner().expect("into memory");
    gzip.finish().expect("into memory")
}

fn zip_of(prefix: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, name) in FILES.into_iter().rev() {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("{prefix}{path}"), options)
            .expect("into memory");
        zip.write_all(config(name).as_bytes()).expect("into memory");
    }
    zip.finish().expect("into memory").into_inner()
}

fn git(within: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(arguments)
        .current_dir(within)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status();
    assert!(status.expect("git is there").success(), "git {arguments:?}");
}

#[tokio::test]
async fn a_folder_is_read_in_order_of_name() {
    let (server, folder) = (Server::data().await, folder());
    written(folder.path());
    let path = folder.path().to_str().expect("UTF-8");
    assert_eq!(names(&server, path).await, ["one", "two", "three"]);
    assert_eq!(
        names(&server, &format!("file://{path}/20")).await,
        ["two", "three"]
    );
    assert_eq!(
        names(&server, &format!("{path}/20/b.yaml")).await,
        ["three"]
    );
    let empty = server
        .tko("template register it --url")
        .arg("/proc/self/fdinfo");
    let error = empty.bad(1).await;
    assert!(
        error.contains("/proc/self/fdinfo") && error.contains(".yaml"),
        "{error}"
    );
}

#[tokio::test]
async fn archives_are_read_whole_or_in_part() {
    let (server, folder) = (Server::data().await, folder());
    let write = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let all = ["one", "two", "three"];
    let tgz = write("p.tgz", archive_of("./"));
    assert_eq!(names(&server, &tgz).await, all);
    assert_eq!(
        names(&server, &format!("tar:{tgz}!20")).await,
        ["two", "three"]
    );
    let zip = write("p.zip", zip_of("deep/"));
    assert_eq!(names(&server, &zip).await, all);
    assert_eq!(
        names(&server, &format!("zip:{zip}!deep/20")).await,
        ["two", "three"]
    );
    assert_eq!(
        names(&server, &format!("zip:file://{zip}!/deep/20/b.yaml")).await,
        ["three"]
    );
    // By any name, when it is said what it is.
    let plain = write("package", zip_of(""));
    assert_eq!(names(&server, &format!("zip:{plain}")).await, all);

    let absent = server
        .tko("template register it -u")
        .arg(format!("zip:{zip}!nowhere"));
    let error = absent.bad(1).await;
    assert!(error.contains(&zip) && error.contains("nowhere"), "{error}");
    let torn = write("torn.tgz", archive_of("")[..100].to_vec());
    let error = server
        .tko("template register it -u")
        .arg(&torn)
        .bad(1)
        .await;
    assert!(error.contains(&torn), "{error}");
}

#[tokio::test]
async fn a_git_repository_is_read_whole_or_in_part_or_at_a_tag() {
    let (server, folder) = (Server::data().await, folder());
    written(folder.path());
    let root = folder.path();
    git(root, &["init", "-q", "-b", "main"]);
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "first"]);
    git(root, &["tag", "v1"]);
    fs::write(root.join("30.yaml"), config("four")).expect("a file");
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "second"]);
    let path = root.to_str().expect("UTF-8");
    let all = ["one", "two", "three", "four"];
    assert_eq!(names(&server, &format!("git:{path}")).await, all);
    assert_eq!(
        names(&server, &format!("git:file://{path}!20")).await,
        ["two", "three"]
    );
    assert_eq!(
        names(&server, &format!("git:{path}!20/a.yml")).await,
        ["two"]
    );
    assert_eq!(
        names(&server, &format!("git:file://{path}#v1")).await,
        all[..3]
    );
    for outside in ["../..", "nowhere"] {
        let url = format!("git:{path}!{outside}");
        let error = server.tko("template register it -u").arg(url).bad(1).await;
        assert!(error.contains(outside), "{error}");
    }
}

#[tokio::test]
async fn a_package_comes_from_a_web_server() {
    let server = Server::data().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.expect("a client");
            let mut request = vec![0; 4096];
            let length = socket.read(&mut request).await.expect("a request");
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let (status, body) = if request.starts_with("GET /p.zip ") {
                ("200 OK", zip_of(""))
            } else if request.starts_with("GET /one.yaml ") {
                ("200 OK", config("web").into_bytes())
            } else {
                ("404 Not Found", Vec::new())
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            // The client may have hung up.
            let _ = socket.write_all(head.as_bytes()).await;
            let _ = socket.write_all(&body).await;
        }
    });
    let base = format!("http://{address}");
    assert_eq!(names(&server, &format!("{base}/one.yaml")).await, ["web"]);
    assert_eq!(
        names(&server, &format!("{base}/p.zip")).await,
        ["one", "two", "three"]
    );
    assert_eq!(
        names(&server, &format!("zip:{base}/p.zip!20")).await,
        ["two", "three"]
    );
    let register = server.tko("template register other -u");
    let error = register.arg(format!("{base}/none.yaml")).bad(1).await;
    assert!(
        error.contains("/none.yaml") && error.contains("404"),
        "{error}"
    );
    server.tko("template get other").bad(3).await;
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    for url in [
        "/nowhere/at.yaml",
        "file:///nowhere",
        "git:/nowhere",
        "tar:/nowhere.tar",
    ] {
        let error = tko("validate").arg(url).bad(1).await;
        assert!(error.contains("/nowhere"), "{error}");
    }
}
