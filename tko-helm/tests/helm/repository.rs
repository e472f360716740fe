//! Charts from a repository on the web.

use crate::program::helm;
use crate::world::{chart, chart_folder, get, world};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Serves the files of a folder; returns the URL. The thread ends with the test program.
pub(crate) fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            // The rest of the request is read, so that closing does not reset the connection.
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let name = request.split([' ', '/']).find(|part| part.contains('.'));
            let file = std::fs::read(folder.join(name.unwrap_or_default()));
            let (status, body) = match file {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let mut stream = &stream;
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body));
        }
    });
    url
}

pub(crate) fn run(helm: &Path, arguments: &[&str]) {
    let out = Command::new(helm).args(arguments).output();
    let out = out.expect("helm runs");
    assert!(out.status.success(), "{out:?}");
}

#[tokio::test]
async fn a_chart_of_a_repository_is_rendered_and_an_exact_version_once() {
    let (Some(helm), Some(world)) = (helm(), world()) else {
        return;
    };
    let map =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: '{{ .Chart.Version }}'}\n";
    let source = chart_folder(&[("templates/a.yaml", map)]);
    let repository = tempfile::tempdir().expect("a folder");
    let (from, to) = (
        source.path().to_str().expect("text"),
        repository.path().to_str().expect("text"),
    );
    for version in ["0.1.0", "0.2.0"] {
        run(helm, &["package", from, "--version", version, "-d", to]);
    }
    run(helm, &["repo", "index", to]);
    let url = serve(repository.path().to_owned());
    for (version, expected, misses) in [
        (Some("0.1.0"), "0.1.0", 1),
        (Some("0.1.0"), "0.1.0", 1),
        (Some("^0.1.0"), "0.1.0", 1),
        (None, "0.2.0", 1),
    ] {
        let spec = json!({"chart": "web", "repository": url, "version": version});
        let id = world.deploy(vec![chart(source.path(), spec)]).await;
        let package = world.prepared(&id).await;
        let data = &get(&package, "v1", "ConfigMap", "a")["data"];
        assert_eq!(data["v"], expected, "{version:?}");
        assert_eq!(world.results.counts().misses, misses, "{version:?}");
    }
    let spec = json!({"chart": "web", "repository": url, "version": "9.9.9"});
    let message = world.refused(vec![chart(source.path(), spec)]).await;
    assert!(message.contains("9.9.9"), "{message}");
    world.stop().await;
}
