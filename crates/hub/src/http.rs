//! Requests: who may see the token, which redirects are followed, which failures are tried again.

use std::{
    fmt, fs, io, thread,
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::{Error, Progress, Settings};

/// As many as browsers follow are too many.
const REDIRECTS: usize = 8;
/// Of one request, and of one download without anything new.
pub(crate) const ATTEMPTS: u32 = 5;
/// Before the second attempt; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A server that asks for more patience than this is told to the user.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// About a file: a redirect to where it lies is the answer.
    About,
    /// For a file, from this byte on.
    For(u64),
}

/// What came.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Answer {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header's number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// The size of the file that was asked about; of a redirect's own body nobody wants to know.
    pub(crate) fn size(&self) -> Option<u64> {
        let own = if self.status == 200 { self.number("content-length") } else { None };
        self.number("x-linked-size").or(own)
    }
}

/// What may be tried again, and what not.
pub(crate) enum Failure {
    Transient { error: Error, wait: Option<Duration> },
    Final(Error),
}

impl Failure {
    pub(crate) fn connection(url: &str, problem: impl fmt::Display) -> Self {
        let error = Error::Connection { url: url.to_owned(), problem: problem.to_string() };
        Self::Transient { error, wait: None }
    }
}

/// Talks to the Hub, to OpenAI's server, and to the servers that these redirect to.
pub(crate) struct Client<'a> {
    settings: &'a Settings,
    about: Agent,
    download: Agent,
}

impl<'a> Client<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Result<Self, Error> {
        let roots = roots(settings)?;
        Ok(Self {
            settings,
            about: agent(settings, settings.metadata_timeout, &roots),
            download: agent(settings, settings.download_timeout, &roots),
        })
    }

    /// An answer that is no error, after some attempts.
    pub(crate) fn ask(&self, url: &str, ask: Ask, progress: &dyn Progress) -> Result<Answer, Error> {
        let mut attempts = 1;
        loop {
            match self.try_to_ask(url, ask) {
                Ok(answer) => return Ok(answer),
                Err(failure) => wait(failure, &mut attempts, progress)?,
            }
        }
    }

    /// One attempt.
    pub(crate) fn try_to_ask(&self, url: &str, ask: Ask) -> Result<Answer, Failure> {
        let mut place = url.to_owned();
        for _ in 0..=REDIRECTS {
            let answer = self.send(&place, ask).map_err(|error| failed(url, &error))?;
            let status = answer.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return judged(url, answer, self.settings.token.is_some());
            }
            let wrong = |problem: &str| Failure::Final(Error::Answer { url: url.to_owned(), problem: problem.to_owned() });
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
            let next = joined(&place, location.unwrap_or_default()).ok_or_else(|| wrong("redirected to what is no address"))?;
            // Its bytes could come from anybody then.
            if place.starts_with("https:") && !next.starts_with("https:") {
                return Err(wrong("redirected from https to an address without encryption"));
            }
            let is_answer = answer.headers().contains_key("x-linked-etag") || origin(&next) != origin(&place);
            if ask == Ask::About && is_answer {
                return judged(url, answer, self.settings.token.is_some());
            }
            place = next;
        }
        Err(Failure::Final(Error::Answer { url: url.to_owned(), problem: "redirected again and again".to_owned() }))
    }

    fn send(&self, place: &str, ask: Ask) -> Result<Response<Body>, ureq::Error> {
        let mut request = match ask {
            Ask::About => self.about.head(place),
            Ask::For(_) => self.download.get(place),
        };
        // Sizes are those of the file itself.
        request = request.header("Accept-Encoding", "identity");
        if let Ask::For(start @ 1..) = ask {
            request = request.header("Range", format!("bytes={start}-"));
        }
        // Nobody but the Hub may see the token: neither where it redirects to, nor OpenAI's server.
        if let Some(token) = &self.settings.token
            && origin(place) == origin(&self.settings.endpoint)
        {
            request = request.header("Authorization", format!("Bearer {}", token.secret()));
        }
        request.call()
    }
}

/// Sleeps before the next attempt, or fails if there have been enough.
pub(crate) fn wait(failure: Failure, attempts: &mut u32, progress: &dyn Progress) -> Result<(), Error> {
    let (error, asked) = match failure {
        Failure::Final(error) => return Err(error),
        Failure::Transient { error, wait } => (error, wait),
    };
    if *attempts >= ATTEMPTS || asked.is_some_and(|asked| asked > LONGEST_WAIT) {
        return Err(error);
    }
    let wait = asked.unwrap_or(FIRST_WAIT * 2u32.pow(*attempts - 1));
    *attempts += 1;
    progress.note(&format!("{error}; trying again in {:.1} s", wait.as_secs_f64()));
    let until = Instant::now() + wait;
    while Instant::now() < until {
        if progress.interrupted() {
            return Err(Error::Interrupted);
        }
        thread::sleep(Duration::from_millis(50).min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

fn agent(settings: &Settings, timeout: Duration, roots: &RootCerts) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        // Followed here, where it is known who may see the token.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_resolve(Some(settings.metadata_timeout))
        .timeout_connect(Some(settings.metadata_timeout))
        .timeout_recv_response(Some(timeout))
        .timeout_per_read(Some(timeout))
        .user_agent(concat!("edgeclip/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots.clone()).build())
        .build()
        .into()
}

/// Mozilla's authorities, or those of the file that the environment names: that of a company, say.
fn roots(settings: &Settings) -> Result<RootCerts, Error> {
    let Some(path) = &settings.certificates else { return Ok(RootCerts::WebPki) };
    let text = fs::read(path).map_err(|source| Error::io(path, "read the certificates to trust", source))?;
    let certificates = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() {
        return Err(Error::Malformed { name: path.display().to_string(), problem: "expected certificates in PEM format" });
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn no_such_server(url: &str) -> Failure {
    let problem = "no such server, or no network; HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=1 stays with the caches";
    Failure::Final(Error::Connection { url: url.to_owned(), problem: problem.to_owned() })
}

fn failed(url: &str, error: &ureq::Error) -> Failure {
    match error {
        // rustls says so of certificates, which are no better the next time.
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Failure::Final(Error::Connection {
            url: url.to_owned(),
            problem: format!(
                "no safe connection: {error}; SSL_CERT_FILE names a file of certificates to trust, such as a company's"
            ),
        }),
        // The standard library has no kind for it.
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => no_such_server(url),
        ureq::Error::Io(error) => Failure::connection(url, format_args!("the connection failed: {error}")),
        ureq::Error::Timeout(_) => {
            Failure::connection(url, "no answer in time; HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT are the seconds to wait")
        }
        ureq::Error::HostNotFound => no_such_server(url),
        ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => {
            Failure::connection(url, format_args!("the connection failed: {error}"))
        }
        error => Failure::Final(Error::Connection { url: url.to_owned(), problem: error.to_string() }),
    }
}

/// An answer, unless it is an error.
fn judged(url: &str, answer: Response<Body>, has_token: bool) -> Result<Answer, Failure> {
    let (parts, body) = answer.into_parts();
    let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
    let is_fine = matches!(answer.status, 200..=299 | 301 | 302 | 303 | 307 | 308 | 416);
    if is_fine {
        return Ok(answer);
    }
    let status = answer.status;
    let wait = answer.number("retry-after").map(Duration::from_secs);
    let error = Error::Status { url: url.to_owned(), status, meaning: meaning(&answer, wait, has_token) };
    match status {
        408 | 429 | 500 | 502 | 503 | 504 => Err(Failure::Transient { error, wait }),
        _ => Err(Failure::Final(error)),
    }
}

fn meaning(answer: &Answer, wait: Option<Duration>, has_token: bool) -> String {
    let known = match (answer.status, answer.header("x-error-code").unwrap_or_default()) {
        (401, _) if has_token => "the token is not accepted; check HF_TOKEN, or the name if there is no such repository",
        (401, _) => "no such repository, or one for which a token is needed: check the name, or set HF_TOKEN to one of yours",
        (403, _) => {
            "no permission: the terms of this repository may have to be accepted on its page first, or the token lacks the right"
        }
        (404, "RevisionNotFound") => "the repository has no such revision",
        (404, "EntryNotFound") => "the repository has no such file",
        (404, _) => "there is no such repository or file; check the name",
        (429, _) => {
            let patience = wait.map_or_else(String::new, |wait| format!(", {} s it says", wait.as_secs()));
            return format!("too many requests; try again later{patience}");
        }
        (500..=599, _) => "trouble on the server; try again later",
        _ => "not what a Hub says; check HF_ENDPOINT and proxies",
    };
    known.to_owned()
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<(&str, String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    // A name and password before the host are not the host.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (host, if scheme == "https" { 443 } else { 80 }),
    };
    Some((scheme, host.to_ascii_lowercase(), port))
}

/// Where a `Location` leads from an address; `None` if it is no address of the web.
fn joined(base: &str, location: &str) -> Option<String> {
    if location.is_empty() || !location.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let (scheme, rest) = base.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let url = if location.contains("://") && !location.starts_with('/') {
        location.to_owned()
    } else if let Some(other) = location.strip_prefix("//") {
        format!("{scheme}://{other}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let path = rest[authority.len()..].split(['?', '#']).next().unwrap_or_default();
        let folder = &path[..path.rfind('/').map_or(0, |at| at + 1)];
        format!("{scheme}://{authority}/{}{location}", folder.trim_start_matches('/'))
    };
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    (is_web && origin(&url).is_some_and(|(_, host, _)| !host.is_empty())).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined() {
        for (base, location, expected) in [
            ("https://a/b/c?d", "https://x/y", Some("https://x/y")),
            ("https://a/b/c?d", "/y?z", Some("https://a/y?z")),
            ("https://a:8/b/c", "//x/y", Some("https://x/y")),
            ("https://a/b/c?d/e", "y", Some("https://a/b/y")),
            ("https://a", "y", Some("https://a/y")),
            ("https://a/b", "file:///etc/passwd", None),
            ("https://a/b", "", None),
            ("https://a/b", "https://x/\r\nEvil: 1", None),
            ("https://a/b", "https:///x", None),
        ] {
            assert_eq!(joined(base, location).as_deref(), expected, "{base} {location}");
        }
    }

    #[test]
    fn servers_are_told_apart() {
        assert_eq!(origin("https://Hub/x"), origin("https://hub:443?y"));
        assert_eq!(origin("http://[::1]:80/"), origin("http://[::1]"));
        for other in ["http://hub", "https://hub:444", "https://hub.evil", "https://hub@evil/", "https://hub:443@evil"] {
            assert_ne!(origin("https://hub/"), origin(other), "{other}");
        }
        assert_eq!(origin("https://hub:x/"), None);
    }
}
