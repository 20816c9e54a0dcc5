//! Keys on disk: made whole, never overwritten, refused when exposed, and understood by OpenSSL.

use dialtone_resolver::io::key_files::{NewKey, NoPassphrase, create, load_public, load_recovery_seed, load_secret, load_signer};
use dialtone_resolver::io::key_rotation::rotate;
use dialtone_resolver::keyfile::{ContentsError, KeyFileError, PublicFile, to_hex};
use dialtone_shared::key::KeyChain;
use dialtone_shared::{SecretKey, UnixMicros};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn alice(folder: &Path) -> std::path::PathBuf {
    folder.join("keys/alice.key")
}

#[test]
fn a_new_key_comes_with_all_that_its_name_will_ever_need() {
    let folder = tempfile::tempdir().unwrap();
    let path = alice(folder.path());
    let (paths, public) = create(&path, &NewKey::default()).unwrap();
    assert_eq!(mode(folder.path().join("keys").as_path()), 0o700);
    assert_eq!(
        (mode(&paths.private), mode(&paths.offline), mode(&paths.recovery_seed())),
        (0o600, 0o700, 0o600)
    );
    assert_eq!(public.chain.links.len(), 16);
    let seed = load_recovery_seed(&paths.recovery_seed()).unwrap();
    assert_eq!(
        KeyChain::generate(&seed, b"", 16).unwrap(),
        public.chain,
        "the seed alone brings everything back"
    );
    for index in 1..=16 {
        assert_eq!(mode(&paths.link(index)), 0o600);
        assert_eq!(load_secret(&paths.link(index)).unwrap().public(), public.chain.links[index - 1].key);
    }
    for known in [&paths.private, &paths.public] {
        assert_eq!(load_public(known).unwrap(), public);
    }
    let signer = load_signer(&path).unwrap();
    assert_eq!(signer.name(), public.name());
    let body = dialtone_shared::Body::Revoked;
    let record = dialtone_resolver::publish::sign(&signer, UnixMicros(5), Vec::new(), body).unwrap();
    assert_eq!(*record.name(), public.name());
}

#[test]
fn a_key_that_is_a_link_to_another_place_is_rotated_there() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, desk) = (folder.path().join("vault"), folder.path().join("desk"));
    for folder in [&vault, &desk] {
        fs::create_dir(folder).unwrap();
    }
    let (paths, _) = create(&alice(&vault), &NewKey::default()).unwrap();
    let linked = alice(&desk);
    fs::create_dir(linked.parent().unwrap()).unwrap();
    for file in [&paths.private, &paths.public] {
        std::os::unix::fs::symlink(file, linked.with_file_name(file.file_name().unwrap())).unwrap();
    }
    let rotated = rotate(&linked, Some(&paths.link(1)), &NoPassphrase).unwrap();
    assert_eq!(rotated.public.epoch, 1);
    assert!(linked.is_symlink(), "the link stays one");
    let next = load_secret(&paths.link(1)).unwrap();
    assert_eq!(
        load_secret(&paths.private).unwrap().public(),
        next.public(),
        "and what it leads to is the next secret"
    );
    assert_eq!(load_public(&paths.public).unwrap(), rotated.public);
    assert_eq!(mode(&paths.private), 0o600);
}

#[test]
fn after_a_rotation_one_link_and_the_public_file_sign() {
    let folder = tempfile::tempdir().unwrap();
    let (paths, public) = create(&alice(folder.path()), &NewKey::default()).unwrap();
    let rotated = PublicFile { epoch: 2, ..public };
    fs::write(&paths.public, rotated.print()).unwrap();
    assert!(matches!(
        load_signer(&paths.private),
        Err(KeyFileError::Contents {
            reason: ContentsError::OtherSecret { epoch: 2, .. },
            ..
        })
    ));
    fs::copy(paths.link(2), &paths.private).unwrap();
    let signer = load_signer(&paths.private).unwrap();
    assert_eq!((signer.name(), signer.chain.len()), (rotated.name(), 2));
}

#[test]
fn nothing_is_ever_overwritten_and_half_a_key_is_never_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.key");
    let listing = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for in_the_way in ["alice.key", "alice.pub", "alice.offline"] {
        let place = folder.path().join(in_the_way);
        fs::write(&place, "precious").unwrap();
        let error = create(&path, &NewKey::default()).unwrap_err();
        assert!(matches!(&error, KeyFileError::Exists(there) if *there == place), "{error}");
        assert_eq!(fs::read(&place).unwrap(), b"precious");
        assert_eq!(listing(folder.path()), [in_the_way]);
        fs::remove_file(&place).unwrap();
    }
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &path).unwrap();
    assert!(
        matches!(create(&path, &NewKey::default()), Err(KeyFileError::Exists(_))),
        "a link to nowhere is in the way too"
    );
    assert!(matches!(
        create(&folder.path().join("bob.pub"), &NewKey::default()),
        Err(KeyFileError::PublicPath(_))
    ));
}

#[test]
fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (paths, _) = create(&alice(folder.path()), &NewKey::default()).unwrap();
    for exposed in [0o640, 0o604, 0o666] {
        fs::set_permissions(&paths.private, fs::Permissions::from_mode(exposed)).unwrap();
        for error in [load_signer(&paths.private).map(drop), load_public(&paths.private).map(drop)] {
            let error = error.unwrap_err();
            assert!(matches!(error, KeyFileError::Exposed { mode, .. } if mode == exposed), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }
    assert!(load_public(&paths.public).is_ok(), "the public file is for everybody");
}

#[test]
fn each_wrong_file_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (paths, _) = create(&alice(folder.path()), &NewKey::default()).unwrap();
    let (other, _) = create(
        &folder.path().join("bob.key"),
        &NewKey {
            links: 0,
            ..NewKey::default()
        },
    )
    .unwrap();
    assert!(matches!(load_signer(&paths.public), Err(KeyFileError::NotPrivate(_))));
    assert!(matches!(load_signer(&folder.path().join("none")), Err(KeyFileError::Disk { .. })));
    fs::copy(&other.private, &paths.private).unwrap();
    let is_other = |error: KeyFileError| {
        matches!(
            error,
            KeyFileError::Contents {
                reason: ContentsError::OtherSecret { .. },
                ..
            }
        )
    };
    assert!(is_other(load_signer(&paths.private).unwrap_err()), "another key's secret");
    assert!(is_other(load_public(&paths.private).unwrap_err()));
    fs::remove_file(&paths.public).unwrap();
    assert!(matches!(load_signer(&paths.private), Err(KeyFileError::NoPublicFile(path)) if path == paths.public));
    for (bytes, reason) in [
        (&b"junk"[..], "PEM"),
        (&[0xff, 0xfe][..], "not text"),
        (&[b'x'; 70_000][..], "larger"),
    ] {
        fs::write(&paths.private, bytes).unwrap();
        let said = load_secret(&paths.private).unwrap_err().to_string();
        assert!(said.contains(reason), "{said}");
    }
}

/// Whether OpenSSL is there with Ed25519; a machine without it says so and passes, the project's own checks require it.
fn openssl(arguments: &[&str]) -> Option<Vec<u8>> {
    match Command::new("openssl").args(arguments).output() {
        Ok(output) => {
            assert!(
                output.status.success(),
                "openssl {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            Some(output.stdout)
        }
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("openssl cannot be run ({error}): not tried against it");
            None
        }
        Err(error) => panic!("openssl is required here: {error}"),
    }
}

#[test]
fn openssl_reads_our_keys_and_we_read_its() {
    let folder = tempfile::tempdir().unwrap();
    let (paths, public) = create(&alice(folder.path()), &NewKey::default()).unwrap();
    let Some(text) = openssl(&["pkey", "-in", paths.private.to_str().unwrap(), "-noout", "-text"]) else {
        return;
    };
    let text = String::from_utf8(text).unwrap();
    let digits: String = text.split("pub:").nth(1).unwrap().chars().filter(char::is_ascii_hexdigit).collect();
    assert_eq!(digits, to_hex(public.key().as_bytes()));

    let made = folder.path().join("made.pem");
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", made.to_str().unwrap()]).unwrap();
    fs::set_permissions(&made, fs::Permissions::from_mode(0o600)).unwrap();
    let first: SecretKey = load_secret(&made).unwrap();
    let theirs = openssl(&["pkey", "-in", made.to_str().unwrap(), "-pubout"]).unwrap();
    let theirs = dialtone_shared::PublicKey::from_pem(std::str::from_utf8(&theirs).unwrap()).unwrap();
    assert_eq!(first.public(), theirs);
    let new = NewKey {
        first: Some(first),
        salt: b"home".to_vec(),
        links: 2,
        ..NewKey::default()
    };
    let (paths, public) = create(&folder.path().join("imported.key"), &new).unwrap();
    assert_eq!(public.key(), theirs);
    assert_eq!(load_signer(&paths.private).unwrap().name(), public.name());
}
