//! Files, folders and archives of this machine.

mod fixture;

use fixture::{
    ALL, append, folder, names, read, read_with, refused, resource, text, tgz, write, zip,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tko_source::{SourceLimits, SourceReader};

#[tokio::test]
async fn a_folder_is_read_in_the_order_of_its_names() {
    let folder = folder();
    write(folder.path());
    let path = text(folder.path());
    assert_eq!(names(path).await, ALL);
    assert_eq!(names(&format!("file://{path}/20")).await, ["two", "three"]);
    assert_eq!(names(&format!("{path}/20/b.yaml")).await, ["three"]);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    refused(read(text(&empty)).await, &[text(&empty), ".yaml"]);
}

#[tokio::test]
async fn an_archive_is_read_whole_or_in_part() {
    let folder = folder();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        text(&path).to_owned()
    };
    let tgz_file = file("p.tgz", &tgz("./"));
    assert_eq!(names(&tgz_file).await, ALL);
    assert_eq!(names(&format!("tar:{tgz_file}!20")).await, ["two", "three"]);
    let zip_file = file("p.zip", &zip("deep/"));
    assert_eq!(names(&zip_file).await, ALL);
    let part = format!("zip:{zip_file}!deep/20");
    assert_eq!(names(&part).await, ["two", "three"]);
    let one = format!("zip:file://{zip_file}!/deep/20/b.yaml");
    assert_eq!(names(&one).await, ["three"]);
    // An archive may have any name if the source says which format it is.
    let unnamed = file("package", &zip(""));
    assert_eq!(names(&format!("zip:{unnamed}")).await, ALL);

    let absent = read(&format!("zip:{zip_file}!nowhere")).await;
    refused(absent, &[&zip_file, "nowhere", ".yaml"]);
    let torn = file("torn.tgz", &tgz("")[..100]);
    refused(read(&torn).await, &[&torn, "damaged"]);
    let torn = file("torn.zip", &zip("")[..100]);
    refused(read(&torn).await, &[&torn, "damaged"]);
}

#[tokio::test]
async fn every_gzip_member_of_an_archive_is_read() {
    let member = |name: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, &format!("{name}.yaml"), resource(name).as_bytes());
        // Two blocks: the header and the content. The end marker of the archive is left out, so
        // that the other member continues the archive.
        let mut blocks = tar.into_inner().expect("into memory");
        blocks.truncate(1024);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&blocks).expect("into memory");
        gzip.finish().expect("into memory")
    };
    let folder = folder();
    let path = folder.path().join("members.tar.gz");
    let bytes = [member("first"), member("second")].concat();
    fs::write(&path, &bytes).expect("a file");
    assert_eq!(names(text(&path)).await, ["first", "second"]);

    // The limit holds for all members together.
    let reader = limited(|limits| limits.max_unpacked_bytes = 1024);
    let read = read_with(&reader, text(&path)).await;
    refused(read, &[text(&path), "too large when unpacked"]);
    let torn = folder.path().join("torn.tar.gz");
    fs::write(&torn, &bytes[..bytes.len() - 8]).expect("a file");
    refused(
        read_with(&SourceReader::new(), text(&torn)).await,
        &["damaged"],
    );
}

#[tokio::test]
async fn a_place_that_does_not_exist_is_named() {
    for source in ["/nowhere/at.yaml", "file:///nowhere", "tar:/nowhere.tar"] {
        refused(read(source).await, &["/nowhere", "cannot open"]);
    }
}

#[tokio::test]
async fn links_to_files_are_refused_and_other_links_are_skipped() {
    let (outside, folder) = (folder(), folder());
    fs::write(outside.path().join("secret.yaml"), resource("secret")).expect("a file");
    write(folder.path());
    symlink(outside.path(), folder.path().join("elsewhere")).expect("a link");
    symlink("/etc/passwd", folder.path().join("passwd")).expect("a link");
    assert_eq!(names(text(folder.path())).await, ALL);
    let link = folder.path().join("link.yaml");
    symlink(outside.path().join("secret.yaml"), &link).expect("a link");
    refused(read(text(folder.path())).await, &[text(&link), "link"]);
}

#[tokio::test]
async fn links_in_archives_are_refused() {
    let folder = folder();
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "a.yaml", resource("a").as_bytes());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "b.yaml", "/etc/passwd")
        .expect("into memory");
    let path = folder.path().join("links.tar");
    fs::write(&path, tar.into_inner().expect("into memory")).expect("a file");
    refused(read(text(&path)).await, &["b.yaml", "link"]);
    // Only what is asked for is looked at.
    assert_eq!(names(&format!("tar:{}!a.yaml", text(&path))).await, ["a"]);

    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.add_symlink("c.yaml", "/etc/passwd", options)
        .expect("into memory");
    let path = folder.path().join("links.zip");
    let bytes = zip.finish().expect("into memory").into_inner();
    fs::write(&path, bytes).expect("a file");
    refused(read(text(&path)).await, &["c.yaml", "link"]);
}

#[tokio::test]
async fn a_listing_has_the_links_that_it_does_not_read() {
    let folder = folder();
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "a/a.yaml", resource("a").as_bytes());
    for name in ["b/b.yaml", "b/a.yaml", "b/other"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        let added = tar.append_link(&mut header, name, "/etc/passwd");
        added.expect("into memory");
    }
    let archive = folder.path().join("links.tar");
    fs::write(&archive, tar.into_inner().expect("into memory")).expect("a file");
    let place = folder.path().join("folder");
    fs::create_dir(&place).expect("a folder");
    fs::write(place.join("a.yaml"), resource("a")).expect("a file");
    symlink("/etc/passwd", place.join("b.yaml")).expect("a link");
    let link = text(&place.join("b.yaml")).to_owned();
    for (source, links) in [
        (&archive, vec!["b/a.yaml".to_owned(), "b/b.yaml".to_owned()]),
        (&place, vec![link]),
    ] {
        let source = text(source).parse().expect("a source");
        let listing = SourceReader::new().listing(&source).await;
        let listing = listing.expect("a listing");
        assert_eq!(listing.files.len(), 1);
        assert_eq!(listing.irregular, links);
    }
}

/// A reader with limits that differ from the defaults.
fn limited(change: impl FnOnce(&mut SourceLimits)) -> SourceReader {
    let mut limits = SourceLimits::default();
    change(&mut limits);
    SourceReader::new().with_limits(limits)
}

#[tokio::test]
async fn every_limit_is_enforced() {
    let folder = folder();
    write(folder.path());
    let path = text(folder.path());
    let size = resource("three").len() as u64;

    let reader = limited(|limits| limits.max_bytes = size);
    refused(read_with(&reader, path).await, &[path, "together"]);
    let reader = limited(|limits| limits.max_bytes = size - 1);
    let file = format!("{path}/20/b.yaml");
    refused(read_with(&reader, &file).await, &[&file, "larger than"]);
    let reader = limited(|limits| limits.max_bytes = size);
    read_with(&reader, &file).await.expect("just fits");

    // Four files and a folder.
    let reader = limited(|limits| limits.max_files = 4);
    refused(read_with(&reader, path).await, &[path, "more than 4 files"]);
    let reader = limited(|limits| limits.max_files = 5);
    read_with(&reader, path).await.expect("just fits");

    let reader = limited(|limits| limits.max_depth = 0);
    refused(read_with(&reader, path).await, &["20", "deep"]);
    let reader = limited(|limits| limits.max_depth = 1);
    read_with(&reader, path).await.expect("just fits");
}

#[tokio::test]
async fn limits_hold_within_archives() {
    let folder = folder();
    let tgz_file = folder.path().join("p.tgz");
    fs::write(&tgz_file, tgz("")).expect("a file");
    let zip_file = folder.path().join("p.zip");
    fs::write(&zip_file, zip("")).expect("a file");
    for file in [&tgz_file, &zip_file] {
        let reader = limited(|limits| limits.max_files = 3);
        let read = read_with(&reader, text(file)).await;
        refused(read, &[text(file), "more than 3 files"]);
    }
    // Far more than the archive itself, on the border between two entries: nothing is cut off
    // unnoticed.
    let reader = limited(|limits| limits.max_unpacked_bytes = 1024);
    let read = read_with(&reader, text(&tgz_file)).await;
    refused(read, &[text(&tgz_file), "too large when unpacked"]);

    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::best(),
    ));
    append(&mut tar, "a.yaml", &vec![b'#'; 1 << 20]);
    let bomb = folder.path().join("bomb.tgz");
    let gzip = tar.into_inner().expect("into memory");
    fs::write(&bomb, gzip.finish().expect("into memory")).expect("a file");
    let reader = limited(|limits| limits.max_bytes = 100 << 10);
    let read = read_with(&reader, text(&bomb)).await;
    refused(read, &["a.yaml", "larger than"]);
}

#[tokio::test]
async fn progress_is_reported() {
    let folder = folder();
    write(folder.path());
    let calls = Arc::new(AtomicUsize::new(0));
    let bytes = Arc::new(AtomicUsize::new(0));
    let (counted, summed) = (calls.clone(), bytes.clone());
    let reader = SourceReader::new().with_progress(move |progress| {
        counted.fetch_add(1, Ordering::Relaxed);
        let bytes = usize::try_from(progress.bytes).expect("few");
        summed.fetch_max(bytes, Ordering::Relaxed);
    });
    read_with(&reader, text(folder.path()))
        .await
        .expect("a package");
    let expected: usize = ALL.iter().map(|name| resource(name).len()).sum();
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    assert_eq!(bytes.load(Ordering::Relaxed), expected);
}

#[test]
fn a_stream_is_read_as_one_file() {
    let reader = limited(|limits| limits.max_bytes = 1 << 10);
    let package = reader
        .package_from("standard input", resource("a").as_bytes())
        .expect("a package");
    assert_eq!(package.len(), 1);
    let long = vec![b'#'; (1 << 10) + 1];
    refused(
        reader.package_from("standard input", &long[..]),
        &["standard input", "larger than"],
    );
    refused(
        reader.package_from("standard input", &b"a: ["[..]),
        &["standard input", "line 1"],
    );
}

#[tokio::test]
async fn files_of_one_more_name_are_read_and_in_their_place_nothing_else() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for name in ["file", "folder/about.json", "link"] {
        fs::create_dir_all(path(name)).expect("a folder");
    }
    for (name, content) in [
        ("file/about.json", "{}"),
        ("file/other.json", "{}"),
        ("folder/about.json/a.yaml", "a: 1"),
    ] {
        fs::write(path(name), content).expect("a file");
    }
    symlink("/etc/passwd", path("link/about.json")).expect("a link");
    let source = text(folder.path()).parse().expect("a source");
    let reader = SourceReader::new().with_also("about.json");
    let found: Vec<(String, usize)> = reader
        .files(&source)
        .await
        .expect("files")
        .into_iter()
        .map(|file| {
            let name = file.name.strip_prefix(text(folder.path()));
            let name = name.expect("it is below").to_owned();
            (name, file.bytes.len())
        })
        .collect();
    let expected = [
        ("/file/about.json", 2),
        ("/folder/about.json", 0),
        ("/link/about.json", 0),
    ];
    assert_eq!(found, expected.map(|(name, size)| (name.to_owned(), size)));
    let without = SourceReader::new().files(&source).await.expect("files");
    assert_eq!(without.len(), 1, "the YAML file alone");
}
