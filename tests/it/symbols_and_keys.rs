//! Goal: a person finds out what is listed and what a key may do, whatever is wrong on the way, and
//! no secret is ever shown. Method: the program as its own process against an exchange of ours as
//! another; secrets are canaries that are looked for in everything that was written.

use crate::run_support::{Dir, genesis, output};
use crate::venue_process::Venue;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const CANARY_KEY: &str = "CANARY-key-5d2f";
const CANARY_SECRET: &str = "CANARY-secret-91ab";
const WRONG_SECRET: &str = "CANARY-wrong-77fe";

fn venue() -> Venue {
    let account = format!("{CANARY_KEY}:{CANARY_SECRET}");
    Venue::start(&["--account", &account, "--symbols", "tBTCUSD,tETHUSD"])
}

fn key_file(dir: &Dir, name: &str, secret: &str, mode: u32) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, format!("{CANARY_KEY}\n{secret}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}
/// Whether a canary stands in any file below `dir` but the key files, or in `texts`.
fn leaked(dir: &Path, texts: &[&str]) -> Vec<PathBuf> {
    let has = |bytes: &[u8]| bytes.windows(7).any(|part| part == b"CANARY-");
    let mut found: Vec<PathBuf> = texts
        .iter()
        .filter(|text| has(text.as_bytes()))
        .map(|text| PathBuf::from(text.to_string()))
        .collect();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(leaked(&path, &[]));
        } else if !entry.file_name().to_string_lossy().contains("key")
            && has(&std::fs::read(&path).unwrap())
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn pairs_of_the_embedded_exchange_are_listed_and_names_are_checked() {
    let dir = Dir::new("symbols");
    let (code, out, err) = output(&["symbols", "list", "--json", "--dir", dir.text()]);
    assert_eq!(code, 0, "{err}");
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    let names: Vec<&str> =
        rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tADAUSD", "tBTCUSD", "tDOTUSD", "tETHUSD"]);
    assert_eq!(rows[1]["canonical"], "BTC/USD");
    assert_eq!(rows[1]["qty_min"], "0.00004");
    let (code, out, _) = output(&["symbols", "check", "btc-usd", "tETHUDS", "--dir", dir.text()]);
    assert_eq!(code, 2);
    assert!(out.contains("ok    btc-usd") && out.contains("tBTCUSD"), "{out}");
    assert!(out.contains("FAIL  `tETHUDS` is not listed; near: tETHUSD"), "{out}");
    // Without names: those of the config.
    let (code, out, _) = output(&["symbols", "check", "--dir", dir.text()]);
    assert_eq!((code, out.matches("ok ").count()), (0, 4), "{out}");
}

#[test]
fn the_saved_list_helps_when_the_venue_is_down_and_a_damaged_one_is_told() {
    let dir = Dir::new("saved");
    let venue = venue();
    let args = ["symbols", "list", "--attach", venue.address(), "--dir", dir.text()];
    let address = venue.address().to_owned();
    let (code, out, err) = output(&args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("2 of 2 pairs"), "{out}");
    drop(venue);
    let fast = ["--set", "rest.total_timeout_ms=500", "--set", "rest.connect_timeout_ms=400"];
    let args =
        [&["symbols", "list", "--attach", &address, "--dir", dir.text()], &fast[..]].concat();
    let (code, out, err) = output(&args);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("no answer") && err.contains("using the saved list"), "{err}");
    assert!(out.contains("2 of 2 pairs of saved list"), "{out}");
    // Damage in the middle of the copy.
    let copy = std::fs::read_dir(dir.path().join("registry")).unwrap().flatten().next().unwrap();
    let mut bytes = std::fs::read(copy.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(copy.path(), bytes).unwrap();
    let (code, _, err) = output(&args);
    assert_eq!(code, 1);
    assert!(err.contains("damaged") && err.contains("fetched anew"), "{err}");
    let offline = [&args[..], &["--offline"]].concat();
    let (code, _, err) = output(&offline);
    assert!(code == 1 && err.contains("without --offline"), "{err}");
}

#[test]
fn keys_are_judged_and_no_error_path_shows_them() {
    let dir = Dir::new("keys");
    let venue = venue();
    let good = key_file(&dir, "key-good", CANARY_SECRET, 0o600);
    let open = key_file(&dir, "key-open", CANARY_SECRET, 0o644);
    let wrong = key_file(&dir, "key-wrong", WRONG_SECRET, 0o400);
    let short = dir.path().join("key-short");
    std::fs::write(&short, format!("{CANARY_SECRET}\n")).unwrap();
    std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o600)).unwrap();
    let check = |file: &str, attach: &str| {
        let base = ["keys", "check", "--dir", dir.text(), "--attach", attach, "--key-file", file];
        let fast = ["--set", "rest.total_timeout_ms=500", "--set", "rest.connect_timeout_ms=400"];
        output(&[&base[..], &fast].concat())
    };
    for (file, attach, expected, words) in [
        (good.as_str(), venue.address(), 0, "may trade live"),
        (&open, venue.address(), 2, "chmod 0400"),
        (&wrong, venue.address(), 1, "10100"),
        (short.to_str().unwrap(), venue.address(), 2, "two lines"),
        ("absent", venue.address(), 2, "absent"),
        (&good, "127.0.0.1:1", 1, "no answer"),
        (&good, "http://127.0.0.1", 2, "is no address"),
    ] {
        let (code, out, err) = check(file, attach);
        assert_eq!(code, expected, "{file}: {out} {err}");
        assert!(out.contains(words) || err.contains(words), "{file}: {out} {err}");
        assert_eq!(leaked(dir.path(), &[&out, &err]), Vec::<PathBuf>::new());
    }
    let (code, out, _) = output(&[
        "keys",
        "check",
        "--json",
        "--dir",
        dir.text(),
        "--attach",
        venue.address(),
        "--key-file",
        &good,
    ]);
    assert_eq!(code, 0);
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rows[1]["role"], "rest");
    assert_eq!(rows[0]["shared"], true, "one key for three roles is told");
    assert_eq!(leaked(dir.path(), &[&out]), Vec::<PathBuf>::new());
}

#[test]
fn the_environment_is_read_behind_its_flag_only_and_credentials_come_first() {
    let dir = Dir::new("places");
    let venue = venue();
    let run = |args: &[&str], credentials: Option<&Path>| {
        let base = ["keys", "check", "--dir", dir.text(), "--attach", venue.address()];
        let mut command = genesis(&[&base[..], args].concat());
        command.env("GENESIS_API_KEY", CANARY_KEY).env("GENESIS_API_SECRET", CANARY_SECRET);
        match credentials {
            Some(path) => command.env("CREDENTIALS_DIRECTORY", path),
            None => command.env_remove("CREDENTIALS_DIRECTORY"),
        };
        let done = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(done.stdout), text(done.stderr));
        assert_eq!(leaked(dir.path(), &[&out, &err]), Vec::<PathBuf>::new());
        (done.status.code().unwrap(), out, err)
    };
    let (code, _, err) = run(&[], None);
    assert!(code == 2 && err.contains("no API key was found"), "{err}");
    let (code, out, _) = run(&["--keys-from-env"], None);
    assert!(code == 0 && out.contains("readable by every child process"), "{out}");
    let wrong = key_file(&dir, "key-wrong", WRONG_SECRET, 0o600);
    let credentials = dir.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let path = credentials.join("genesis-key");
    std::fs::write(&path, format!("{CANARY_KEY}\n{CANARY_SECRET}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    let (code, out, err) = run(&["--key-file", &wrong], Some(&credentials));
    std::fs::remove_file(&path).unwrap();
    assert!(code == 0 && out.contains("genesis-key"), "{out} {err}");
}
