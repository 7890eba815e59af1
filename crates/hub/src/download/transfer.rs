//! One file over the network: resumed, bounded, checked, and only then under its name.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::{
    Error, Progress,
    http::{Answer, Ask, Client, Failure, wait},
    sums::{hash, hex},
};

/// So much that is new makes a failure the first again.
const MUCH: u64 = 1 << 20;

/// What to fetch and what to expect.
pub(crate) struct Transfer<'a> {
    pub(crate) url: &'a str,
    /// For people.
    pub(crate) name: &'a str,
    /// Where it grows.
    pub(crate) incomplete: &'a Path,
    pub(crate) target: &'a Path,
    /// If the server has said.
    pub(crate) size: Option<u64>,
    /// The most that any such file has.
    pub(crate) limit: u64,
    pub(crate) sha256: Option<&'a str>,
}

/// The beginning that is there.
struct Begun {
    file: File,
    len: u64,
    hasher: Sha256,
}

impl Transfer<'_> {
    pub(crate) fn run(&self, client: &Client<'_>, progress: &dyn Progress) -> Result<(), Error> {
        if let Some(size) = self.size.filter(|&size| size > self.limit) {
            return Err(Error::Size { url: self.url.to_owned(), expected: self.limit, found: size });
        }
        let had = fs::metadata(self.incomplete).map_or(0, |found| found.len());
        match self.attempt(client, progress) {
            // What was there already may have been of another file, or damaged.
            Err(Error::Hash { .. }) if had > 0 => self.attempt(client, progress),
            done => done,
        }
    }

    fn attempt(&self, client: &Client<'_>, progress: &dyn Progress) -> Result<(), Error> {
        let mut begun = self.begun(progress)?;
        self.announce(&begun, progress);
        let mut attempts = 1;
        while self.size != Some(begun.len) || begun.len == 0 {
            let before = begun.len;
            match self.more(client, &mut begun, progress) {
                Ok(()) => break,
                Err(failure) => {
                    if begun.len >= before + MUCH {
                        attempts = 1;
                    }
                    if let Failure::Final(Error::Size { .. }) = failure {
                        let _ = fs::remove_file(self.incomplete);
                    }
                    wait(failure, &mut attempts, progress)?;
                    self.announce(&begun, progress);
                }
            }
        }
        self.finish(begun)
    }

    fn announce(&self, begun: &Begun, progress: &dyn Progress) {
        progress.begin(&format!("downloading {}", self.name), self.size.unwrap_or(0));
        progress.advance(begun.len);
    }

    /// Opens the file that grows. Only what can be checked in the end is taken up again.
    fn begun(&self, progress: &dyn Progress) -> Result<Begun, Error> {
        let cannot = |source: io::Error| match source.kind() {
            io::ErrorKind::Interrupted => Error::Interrupted,
            _ => Error::io(self.incomplete, "write it", source),
        };
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(self.incomplete).map_err(cannot)?;
        let mut hasher = Sha256::new();
        let mut len = file.metadata().map_err(cannot)?.len();
        if self.sha256.is_none() || len > self.size.unwrap_or(self.limit) {
            file.set_len(0).map_err(cannot)?;
            len = 0;
        }
        if len > 0 {
            progress.begin(&format!("checking {}", self.name), len);
            hash(&mut file, &mut hasher, progress).map_err(cannot)?;
        }
        Ok(Begun { file, len, hasher })
    }

    /// One request for what is missing.
    fn more(&self, client: &Client<'_>, begun: &mut Begun, progress: &dyn Progress) -> Result<(), Failure> {
        let cannot = |source| Failure::Final(Error::io(self.incomplete, "write it", source));
        if self.sha256.is_none() && begun.len > 0 {
            self.restart(begun).map_err(cannot)?;
        }
        let mut answer = client.try_to_ask(self.url, Ask::For(begun.len))?;
        let size = self.judge(&answer, begun).map_err(cannot)??;
        let mut body = answer.body.as_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            if progress.interrupted() {
                return Err(Failure::Final(Error::Interrupted));
            }
            let n = match body.read(&mut buffer) {
                Ok(n) => n,
                Err(error) => return Err(Failure::connection(self.url, format_args!("the connection was cut: {error}"))),
            };
            if n == 0 {
                break;
            }
            if begun.len + n as u64 > size.unwrap_or(self.limit) {
                let expected = size.unwrap_or(self.limit);
                return Err(Failure::Final(Error::Size { url: self.url.to_owned(), expected, found: begun.len + n as u64 }));
            }
            begun.file.write_all(&buffer[..n]).map_err(cannot)?;
            begun.hasher.update(&buffer[..n]);
            begun.len += n as u64;
            progress.advance(n as u64);
        }
        match size {
            Some(size) if begun.len < size => {
                Err(Failure::connection(self.url, format_args!("the connection was cut after {} of {size} bytes", begun.len)))
            }
            _ => Ok(()),
        }
    }

    /// How large the file will be, if anybody knows; what contradicts what was said before is an error.
    fn judge(&self, answer: &Answer, begun: &mut Begun) -> io::Result<Result<Option<u64>, Failure>> {
        let (total, restart) = match answer.status {
            206 => {
                let range = answer.header("content-range").and_then(range);
                match range {
                    Some((start, total)) if start == begun.len => (total, false),
                    _ => return Ok(Err(self.wrong("expected the part of the file that was asked for"))),
                }
            }
            // There is nothing after what we have: it is of another file.
            416 => {
                self.restart(begun)?;
                return Ok(Err(Failure::connection(self.url, "the server has no more of this file")));
            }
            // All of it, although a part was asked for.
            200 => (answer.number("content-length"), begun.len > 0),
            _ => return Ok(Err(self.wrong("expected a file"))),
        };
        if restart {
            self.restart(begun)?;
        }
        match (self.size, total) {
            (Some(expected), Some(found)) if expected != found => {
                Ok(Err(Failure::Final(Error::Size { url: self.url.to_owned(), expected, found })))
            }
            (None, Some(found)) if found > self.limit => {
                Ok(Err(Failure::Final(Error::Size { url: self.url.to_owned(), expected: self.limit, found })))
            }
            (expected, found) => Ok(Ok(expected.or(found))),
        }
    }

    fn restart(&self, begun: &mut Begun) -> io::Result<()> {
        begun.file.set_len(0)?;
        begun.file.seek(SeekFrom::Start(0))?;
        begun.len = 0;
        begun.hasher = Sha256::new();
        Ok(())
    }

    fn wrong(&self, problem: &str) -> Failure {
        Failure::Final(Error::Answer { url: self.url.to_owned(), problem: problem.to_owned() })
    }

    /// Checks the whole and gives it its name.
    fn finish(&self, begun: Begun) -> Result<(), Error> {
        let found = hex(&begun.hasher.finalize());
        if let Some(expected) = self.sha256
            && expected != found
        {
            let _ = fs::remove_file(self.incomplete);
            return Err(Error::Hash { file: self.url.to_owned(), expected: expected.to_owned(), found });
        }
        begun.file.sync_all().map_err(|source| Error::io(self.incomplete, "write it", source))?;
        drop(begun.file);
        fs::rename(self.incomplete, self.target).map_err(|source| Error::io(self.target, "put it in place", source))
    }
}

/// The start and the total of a `Content-Range`.
fn range(header: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes 5-9", "bytes */10", "5-9/10", "bytes -1-9/10"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
