//! Where files are kept and what may be done, from the environment; Hugging Face's variables mean what they mean to `huggingface_hub`.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::Error;

/// The mirror of OpenAI's addresses.
pub(crate) const OPENAI_ENDPOINT: &str = "EDGECLIP_OPENAI_ENDPOINT";
const ENDPOINT: &str = "HF_ENDPOINT";

/// Seconds, as `huggingface_hub` waits by default.
const TIMEOUT: u64 = 10;
/// Longer than any token.
const MAX_TOKEN: u64 = 64 << 10;

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Hugging Face's cache of repositories: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or
    /// ~/.cache/huggingface/hub.
    pub hub_cache: PathBuf,
    /// The cache of OpenAI's `clip`: ~/.cache/clip.
    pub openai_cache: PathBuf,
    /// The cache of converted files: EDGECLIP_CACHE, $XDG_CACHE_HOME/edgeclip or ~/.cache/edgeclip.
    pub cache: PathBuf,
    /// The Hub's address without a slash at its end: HF_ENDPOINT.
    pub endpoint: String,
    /// The address before `/clip/models` of OpenAI's files: EDGECLIP_OPENAI_ENDPOINT.
    pub openai_endpoint: String,
    /// The variable that forbids the network, if there is one: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE.
    pub offline: Option<&'static str>,
    /// HF_TOKEN, HUGGING_FACE_HUB_TOKEN, or what is in HF_TOKEN_PATH or $HF_HOME/token; none with HF_HUB_DISABLE_IMPLICIT_TOKEN.
    pub token: Option<Token>,
    /// The longest wait for an answer about a file: HF_HUB_ETAG_TIMEOUT.
    pub metadata_timeout: Duration,
    /// The longest wait for more of a file: HF_HUB_DOWNLOAD_TIMEOUT.
    pub download_timeout: Duration,
    /// Whether snapshots are links to blobs: not with HF_HUB_DISABLE_SYMLINKS.
    pub symlinks: bool,
    /// Whether to show progress: not with HF_HUB_DISABLE_PROGRESS_BARS.
    pub progress: bool,
    /// Certificates to trust instead of Mozilla's: SSL_CERT_FILE or REQUESTS_CA_BUNDLE.
    pub certificates: Option<PathBuf>,
}

/// A secret: it is shown to nobody but the Hub.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Without blanks around it and line ends in it; `None` if nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.replace(['\r', '\n'], "");
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    #[cfg(feature = "download")]
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Settings {
    /// From the environment.
    ///
    /// # Errors
    /// [`Error::Setting`] names the variable that makes no sense.
    pub fn from_env() -> Result<Self, Error> {
        Self::read(&|name| env::var_os(name))
    }

    /// From what `variable` says of each name.
    ///
    /// # Errors
    /// [`Error::Setting`] names the variable that makes no sense.
    pub fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        // An empty variable is none: Python would take the current folder for a cache.
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = get("HOME")
            .map(PathBuf::from)
            .or_else(env::home_dir)
            .ok_or_else(|| Error::Setting { variable: "HOME", problem: "not set; the caches are in it".to_owned() })?;
        let place = |name: &str| get(name).map(|value| expanded(&value, &home, &get));
        // Python does not expand this one.
        let caches = get("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
        let hf_home = place("HF_HOME").unwrap_or_else(|| expanded(caches.join("huggingface").as_os_str(), &home, &get));
        let hub_cache = place("HF_HUB_CACHE").or_else(|| place("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| hf_home.join("hub"));
        let is_true = |name: &str| get(name).is_some_and(|value| is_true(&value));
        // The first that is set decides.
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| get(name).is_some());
        let token = match is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            true => None,
            false => token(&get, &place("HF_TOKEN_PATH").unwrap_or_else(|| hf_home.join("token")))?,
        };
        Ok(Self {
            hub_cache,
            openai_cache: home.join(".cache/clip"),
            cache: place("EDGECLIP_CACHE").unwrap_or_else(|| caches.join("edgeclip")),
            endpoint: address(&get, ENDPOINT, "https://huggingface.co")?,
            openai_endpoint: address(&get, OPENAI_ENDPOINT, "https://openaipublic.azureedge.net")?,
            offline: offline.filter(|name| is_true(name)),
            token,
            metadata_timeout: seconds(&get, "HF_HUB_ETAG_TIMEOUT")?,
            download_timeout: seconds(&get, "HF_HUB_DOWNLOAD_TIMEOUT")?,
            symlinks: !is_true("HF_HUB_DISABLE_SYMLINKS"),
            progress: !is_true("HF_HUB_DISABLE_PROGRESS_BARS"),
            certificates: get("SSL_CERT_FILE").or_else(|| get("REQUESTS_CA_BUNDLE")).map(PathBuf::from),
        })
    }
}

type Get<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn is_true(value: &OsStr) -> bool {
    ["1", "ON", "YES", "TRUE"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

fn token(get: Get<'_>, path: &Path) -> Result<Option<Token>, Error> {
    for variable in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(value) = get(variable) {
            return Ok(value.to_str().and_then(Token::new));
        }
    }
    match fs::metadata(path) {
        // Not there, or not for us: then there is none, as for Python.
        Err(_) => return Ok(None),
        Ok(found) if !found.is_file() || found.len() > MAX_TOKEN => {
            return Err(Error::Malformed {
                name: path.display().to_string(),
                problem: "expected a file with a token of the Hub",
            });
        }
        Ok(_) => {}
    }
    Ok(fs::read_to_string(path).ok().as_deref().and_then(Token::new))
}

fn address(get: Get<'_>, variable: &'static str, default: &str) -> Result<String, Error> {
    let Some(value) = get(variable) else { return Ok(default.to_owned()) };
    let wrong = || Error::Setting { variable, problem: format!("expected an address such as {default}, found {value:?}") };
    let text = value.to_str().ok_or_else(wrong)?.trim_end_matches('/');
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(wrong)?;
    let is_plain = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}@".contains(&b));
    if is_plain { Ok(text.to_owned()) } else { Err(wrong()) }
}

fn seconds(get: Get<'_>, variable: &'static str) -> Result<Duration, Error> {
    let Some(value) = get(variable) else { return Ok(Duration::from_secs(TIMEOUT)) };
    // A day is as good as any longer time.
    let seconds = value.to_str().and_then(|text| text.trim().parse::<u64>().ok()).filter(|&seconds| seconds <= 86_400);
    match seconds {
        Some(0) => Ok(Duration::from_secs(TIMEOUT)),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(Error::Setting { variable, problem: format!("expected whole seconds up to 86400, found {value:?}") }),
    }
}

/// With `~` and `$NAME` or `${NAME}` replaced, as Python's `expanduser` and `expandvars` do; what is not set stays.
fn expanded(value: &OsStr, home: &Path, get: Get<'_>) -> PathBuf {
    let Some(text) = value.to_str() else { return PathBuf::from(value) };
    let text = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{}{rest}", home.display()),
        _ => text.to_owned(),
    };
    let mut result = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, end) = match rest[1..].strip_prefix('{').map(|inner| inner.split_once('}')) {
            Some(Some((name, _))) => (name, name.len() + 3),
            Some(None) => ("", 1),
            None => {
                let end = rest[1..].find(|c| !is_part(c)).map_or(rest.len(), |end| end + 1);
                (&rest[1..end], end)
            }
        };
        match (!name.is_empty()).then(|| get(name)).flatten() {
            Some(value) => result.push_str(&value.to_string_lossy()),
            None => result.push_str(&rest[..end]),
        }
        rest = &rest[end..];
    }
    result.push_str(rest);
    PathBuf::from(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::read(&|name| match variables.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Some(OsString::from(value)),
            None => (name == "HOME").then(|| OsString::from("/home/a")),
        })
    }

    #[test]
    fn caches_are_where_python_has_them() {
        let cases: [(&[(&str, &str)], &str); 9] = [
            (&[], "/home/a/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub"),
            (&[("HF_HOME", "~/h")], "/home/a/h/hub"),
            (&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")], "/new"),
            (&[("HF_HUB_CACHE", "$DISK/${NAME}/$NONE"), ("DISK", "/d"), ("NAME", "n")], "/d/n/$NONE"),
            (&[("HF_HUB_CACHE", "")], "/home/a/.cache/huggingface/hub"),
            (&[("HF_HUB_CACHE", "a$")], "a$"),
        ];
        for (variables, expected) in cases {
            assert_eq!(read(variables).unwrap().hub_cache, Path::new(expected), "{variables:?}");
        }
        let ours = |variables: &[(&str, &str)]| read(variables).unwrap().cache;
        assert_eq!(ours(&[]), Path::new("/home/a/.cache/edgeclip"));
        assert_eq!(ours(&[("XDG_CACHE_HOME", "/x")]), Path::new("/x/edgeclip"));
        assert_eq!(ours(&[("XDG_CACHE_HOME", "/x"), ("EDGECLIP_CACHE", "~/e")]), Path::new("/home/a/e"));
        assert_eq!(read(&[("XDG_CACHE_HOME", "/x")]).unwrap().openai_cache, Path::new("/home/a/.cache/clip"));
    }

    #[test]
    fn true_is_any_of_four_words() {
        for (value, offline) in
            [("1", true), ("on", true), ("Yes", true), ("TRUE", true), ("0", false), ("", false), ("2", false)]
        {
            assert_eq!(read(&[("HF_HUB_OFFLINE", value)]).unwrap().offline.is_some(), offline, "{value}");
        }
        assert_eq!(read(&[("TRANSFORMERS_OFFLINE", "1")]).unwrap().offline, Some("TRANSFORMERS_OFFLINE"));
        assert_eq!(read(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).unwrap().offline, None);
        assert!(!read(&[("HF_HUB_DISABLE_PROGRESS_BARS", "1")]).unwrap().progress);
        assert!(!read(&[("HF_HUB_DISABLE_SYMLINKS", "1")]).unwrap().symlinks);
    }

    #[test]
    fn the_token_is_the_first_there_is_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().display().to_string();
        fs::write(folder.path().join("token"), " from-file\r\n").unwrap();
        fs::write(folder.path().join("other"), "other").unwrap();
        let other = folder.path().join("other").display().to_string();
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);
        let cases: [Case<'_>; 6] = [
            (&[("HF_HOME", &home)], Some("from-file")),
            (&[("HF_HOME", &home), ("HF_TOKEN_PATH", &other)], Some("other")),
            (&[("HF_HOME", &home), ("HUGGING_FACE_HUB_TOKEN", "old")], Some("old")),
            (&[("HF_HOME", &home), ("HUGGING_FACE_HUB_TOKEN", "old"), ("HF_TOKEN", "new\n")], Some("new")),
            (&[("HF_HOME", &home), ("HF_TOKEN", "new"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], None),
            (&[("HF_HOME", "/nowhere")], None),
        ];
        for (variables, expected) in cases {
            let settings = read(variables).unwrap();
            assert_eq!(settings.token, expected.and_then(Token::new), "{variables:?}");
            assert!(!format!("{settings:?}").contains(expected.unwrap_or("new")), "{settings:?}");
        }
        assert!(read(&[("HF_TOKEN_PATH", &home)]).unwrap_err().to_string().contains("expected a file with a token"));
    }

    #[test]
    fn addresses_and_seconds_are_checked() {
        assert_eq!(read(&[("HF_ENDPOINT", "https://hf-mirror.com//")]).unwrap().endpoint, "https://hf-mirror.com");
        assert_eq!(read(&[("HF_ENDPOINT", "http://127.0.0.1:80/hub")]).unwrap().endpoint, "http://127.0.0.1:80/hub");
        for bad in ["hf-mirror.com", "ftp://x", "https://", "https://a b", "https://a\nb", "https://user:password@host"] {
            let message = read(&[("HF_ENDPOINT", bad)]).unwrap_err().to_string();
            assert!(message.starts_with("environment variable HF_ENDPOINT: expected an address"), "{message}");
        }
        assert_eq!(read(&[("HF_HUB_ETAG_TIMEOUT", "3")]).unwrap().metadata_timeout, Duration::from_secs(3));
        assert_eq!(read(&[("HF_HUB_DOWNLOAD_TIMEOUT", "0")]).unwrap().download_timeout, Duration::from_secs(10));
        for bad in ["x", "-1", "1.5", "99999999999999999999"] {
            assert!(read(&[("HF_HUB_DOWNLOAD_TIMEOUT", bad)]).unwrap_err().to_string().contains("whole seconds"), "{bad}");
        }
    }
}
