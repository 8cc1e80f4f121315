//! What a server says of itself.

use redis::Cmd;

use crate::error::Error;
use crate::link::{Again, Client};
use crate::value::text;

/// The replicas that are connected to the server.
pub(crate) async fn replicas(client: &Client) -> Result<u32, Error> {
    let mut command = Cmd::new();
    command.arg("INFO").arg("replication");
    let info = text(&client.one("", &command, Again::Yes).await?)?;
    Ok(field(&info, "connected_slaves")
        .and_then(|count| count.parse().ok())
        .unwrap_or(0))
}

/// Asks for a sign of life.
pub(crate) async fn ping(client: &Client) -> Result<(), Error> {
    let mut command = Cmd::new();
    command.arg("PING");
    client.one("", &command, Again::Yes).await.map(drop)
}

/// Whether the server knows a command; one without arguments is enough to find out.
pub(crate) async fn has_command(client: &Client, name: &str) -> bool {
    let mut command = Cmd::new();
    command.arg(name);
    match client.one("", &command, Again::Yes).await {
        Err(Error::Server(line)) => !line.starts_with("ERR unknown command"),
        _ => true,
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n";
        assert_eq!(field(info, "connected_slaves"), Some("2"));
        assert_eq!(field(info, "connected"), None);
        assert_eq!(field(info, "other"), None);
    }
}
