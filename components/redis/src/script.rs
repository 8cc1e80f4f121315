//! The scripts that write: what they check and what they do is one step for everybody else.
//!
//! Source: specification, state stores 2.2 and 2.5.

use std::sync::OnceLock;

use redis::{Cmd, Script as Hashed};

/// A script, and the name that servers know it by once they have run it.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: OnceLock<String>,
}

/// How a script is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By its hash, which servers forget when they start.
    Hash,
    /// By its text.
    Text,
}

/// Writes a hash. Arguments: the version that it must have (`0` for none), the value, `0` if it is to be marked as
/// written by the first, and the seconds it is to live (empty to leave that as it is).
pub(crate) static SET: Script = Script::new(
    "local version = redis.pcall('HGET', KEYS[1], 'version')
if type(version) == 'table' then
  redis.call('DEL', KEYS[1])
  version = false
end
local allowed = not version or version == '' or version == ARGV[1]
  or (ARGV[1] == '0' and redis.call('HEXISTS', KEYS[1], 'first-write') == 0)
if not allowed then
  return redis.error_reply('ERR failed to set key ' .. KEYS[1])
end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
if ARGV[3] == '0' then
  redis.call('HSET', KEYS[1], 'first-write', '0')
end
version = redis.call('HINCRBY', KEYS[1], 'version', 1)
if ARGV[4] ~= '' then
  if tonumber(ARGV[4]) > 0 then
    redis.call('EXPIRE', KEYS[1], ARGV[4])
  else
    redis.call('PERSIST', KEYS[1])
  end
end
return version",
);

/// Deletes a hash, or whatever it is. Argument: the version that it must have, `0` for any.
pub(crate) static DELETE: Script = Script::new(
    "local version = redis.pcall('HGET', KEYS[1], 'version')
local allowed = not version or type(version) == 'table' or version == '' or version == ARGV[1] or ARGV[1] == '0'
if not allowed then
  return redis.error_reply('ERR failed to delete ' .. KEYS[1])
end
return redis.call('DEL', KEYS[1])",
);

/// Writes a document. Arguments as those of [`SET`]; the value is the whole of `{\"data\":…}`.
pub(crate) static SET_DOCUMENT: Script = Script::new(
    "local version = redis.pcall('JSON.GET', KEYS[1], '.version')
if type(version) == 'table' then
  redis.call('DEL', KEYS[1])
  version = false
end
version = version or ARGV[1]
local mark = redis.pcall('JSON.GET', KEYS[1], '.first-write')
local allowed = version == ARGV[1]
  or (ARGV[1] == '0' and (not mark or type(mark) == 'table'))
if not allowed then
  return redis.error_reply('ERR failed to set key ' .. KEYS[1])
end
redis.call('JSON.SET', KEYS[1], '.', ARGV[2])
if ARGV[3] == '0' then
  redis.call('JSON.SET', KEYS[1], '.first-write', '0')
end
redis.call('JSON.SET', KEYS[1], '.version', version + 1)
if ARGV[4] ~= '' then
  if tonumber(ARGV[4]) > 0 then
    redis.call('EXPIRE', KEYS[1], ARGV[4])
  else
    redis.call('PERSIST', KEYS[1])
  end
end
return version + 1",
);

/// Deletes a document. Argument as that of [`DELETE`].
pub(crate) static DELETE_DOCUMENT: Script = Script::new(
    "local version = redis.pcall('JSON.GET', KEYS[1], '.version')
local allowed = not version or type(version) == 'table' or version == '' or version == ARGV[1] or ARGV[1] == '0'
if not allowed then
  return redis.error_reply('ERR failed to delete ' .. KEYS[1])
end
return redis.call('DEL', KEYS[1])",
);

/// Gives a lock back. Argument: the owner. 0 is done, 1 is that nobody has it, 2 that somebody else has.
pub(crate) static UNLOCK: Script = Script::new(
    "local owner = redis.call('GET', KEYS[1])
if not owner then
  return 1
end
if owner ~= ARGV[1] then
  return 2
end
redis.call('DEL', KEYS[1])
return 0",
);

// === impl Script ===

impl Script {
    const fn new(text: &'static str) -> Self {
        Self {
            text,
            hash: OnceLock::new(),
        }
    }

    /// The command that runs it on a key.
    pub(crate) fn call(&self, by: By, key: &str) -> Cmd {
        let mut command = Cmd::with_capacity(8, key.len() + 128);
        match by {
            By::Hash => command.arg("EVALSHA").arg(self.hash()),
            By::Text => command.arg("EVAL").arg(self.text),
        };
        command.arg(1).arg(key);
        command
    }

    fn hash(&self) -> &str {
        self.hash
            .get_or_init(|| Hashed::new(self.text).get_hash().to_owned())
    }
}
