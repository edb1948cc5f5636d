//! Where API keys come from: systemd's credentials, a private file, or, where a flag allows it, the
//! environment. Nothing here ever shows what it read.

use crate::config::Config;
use crate::io::secret::{SecretPair, read_key_file};
use crate::io::syscall;
use crate::line::rest::KeyRole;
use crate::venue::sign::ApiKey;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The places, as arguments, environment and config name them.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyPlaces {
    /// `$CREDENTIALS_DIRECTORY`, which systemd sets.
    pub credentials: Option<PathBuf>,
    /// By role: `--key-file` for each, else what `venue.*_key_file` says.
    pub files: [Option<PathBuf>; KeyRole::ALL.len()],
    /// Names of the variables, of key and secret; `None` where the flag is absent. Behind them may
    /// stand a role.
    pub variables: Option<(String, String)>,
}

/// A key, and where it was found, for people.
pub(super) struct FoundKey {
    pub key: ApiKey,
    pub from: String,
}

impl KeyPlaces {
    pub(super) fn new(config: &Config, key_file: Option<PathBuf>, from_env: bool) -> KeyPlaces {
        let venue = &config.venue;
        let named = |path: &String| Some(path).filter(|p| !p.is_empty()).map(PathBuf::from);
        let of_all = named(&venue.key_file);
        let files = KeyRole::ALL.map(|role| {
            let own = match role {
                KeyRole::Trade => None,
                KeyRole::Rest => named(&venue.rest_key_file),
                KeyRole::Kill => named(&venue.kill_key_file),
            };
            key_file.clone().or(own).or_else(|| of_all.clone())
        });
        KeyPlaces {
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            files,
            variables: from_env.then(|| (venue.key_env.clone(), venue.secret_env.clone())),
        }
    }

    /// The key of a role: the first place that has one. A place that has one and may not be used is
    /// an error, not a reason to look further.
    ///
    /// # Errors
    /// What is wrong, in words; no key is not an error.
    pub(super) fn load(&self, role: KeyRole) -> Result<Option<FoundKey>, String> {
        // Before the first secret is in memory: no core dump, no tracing.
        syscall::set_not_dumpable()
            .map_err(|error| format!("keys cannot be kept out of core dumps: {error}"))?;
        if let Some(directory) = &self.credentials {
            for name in [format!("genesis-{}", role.name()), "genesis-key".to_owned()] {
                let path = directory.join(name);
                if path.exists() {
                    return of_file(&path).map(Some);
                }
            }
        }
        if let Some(path) = &self.files[role.index()] {
            return of_file(path).map(Some);
        }
        let Some((id_name, secret_name)) = &self.variables else { return Ok(None) };
        let suffix = format!("_{}", role.name().to_uppercase());
        for suffix in [suffix.as_str(), ""] {
            let found =
                of_variables(&format!("{id_name}{suffix}"), &format!("{secret_name}{suffix}"));
            if !matches!(found, Ok(None)) {
                return found;
            }
        }
        Ok(None)
    }
}

fn of_variables(id_name: &str, secret_name: &str) -> Result<Option<FoundKey>, String> {
    let read = |name: &str| std::env::var(name).ok().map(Zeroizing::new);
    match (read(id_name), read(secret_name)) {
        (Some(id), Some(secret)) => {
            let from = format!("${id_name} (readable by every child process)");
            key_of(&SecretPair { id, secret }, from).map(Some)
        }
        (None, None) => Ok(None),
        _ => Err(format!("${id_name} and ${secret_name} must both be set, or neither")),
    }
}

fn of_file(path: &std::path::Path) -> Result<FoundKey, String> {
    let pair = read_key_file(path).map_err(|error| error.to_string())?;
    key_of(&pair, path.display().to_string())
}

fn key_of(pair: &SecretPair, from: String) -> Result<FoundKey, String> {
    let key = ApiKey::new(pair.id.trim(), pair.secret.trim().as_bytes()).map_err(|_| {
        format!("the API key from {from} cannot be used: id and secret must be plain, not empty")
    })?;
    Ok(FoundKey { key, from })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::files::TestDir;
    use std::os::unix::fs::PermissionsExt;

    /// Goal: a key in memory is in no core dump, and in no text. Method: load one, ask the kernel,
    /// and print everything that can be printed.
    #[test]
    fn a_loaded_key_forbids_core_dumps_and_is_never_shown() {
        let dir = TestDir::new("secrets");
        let path = dir.path().join("key");
        std::fs::write(&path, "CANARY-id\nCANARY-secret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let files = [Some(path.clone()), None, None];
        let places = KeyPlaces { files, ..KeyPlaces::default() };
        assert!(places.load(KeyRole::Kill).unwrap().is_none(), "each role has its own place");
        let found = places.load(KeyRole::Trade).unwrap().unwrap();
        assert!(!syscall::is_dumpable());
        let shown = format!("{:?} {} {places:?}", found.key, found.from);
        assert!(!shown.contains("CANARY"), "{shown}");
        for text in
            ["CANARY-secret-alone\n", "\n\n", "CANARY id\nCANARY secret\n", "a\nb\nCANARY\n"]
        {
            std::fs::write(&path, text).unwrap();
            if let Err(words) = places.load(KeyRole::Trade) {
                assert!(!words.contains("CANARY"), "{words}");
            }
        }
    }
}
