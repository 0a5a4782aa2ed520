//! Settings of a host with an SFTP server: from the operator's options, and from a remote of
//! rclone's configuration (<https://rclone.org/sftp/>).
//!
//! Keys that only tune how rclone works are ignored. Passwords are refused: logging in is ssh's
//! business.

use remote::shell::{ShellError, split};
use s3::config::rclone_conf::OtherRemote;
use sftp::host::SftpSettings;
use types::limits::REMOTE_SILENCE_MAX;
use types::operand::sftp_path::SftpPath;

use super::host_options::HostOptions;
use super::unreached::Unreached;

/// Keys without which a remote would mean something else, with advice for the user.
const REFUSED: [(&str, &str); 7] = [
    ("pass", PASSWORDS),
    ("key_file_pass", "passphrases are not taken; load the key into an agent of ssh (ssh-add)"),
    ("ask_password", PASSWORDS),
    ("key_pem", "keys are not taken; write the key to a file, and name that as key_file"),
    ("socks_proxy", "name the proxy in ssh's configuration (ProxyCommand, ProxyJump)"),
    ("http_proxy", "name the proxy in ssh's configuration (ProxyCommand, ProxyJump)"),
    ("path_override", "paths are used as they are; remove the key"),
];

const PASSWORDS: &str = "passwords are not taken; use a key or an agent of ssh";

/// Returns how the host of an URL is reached.
///
/// # Errors
/// Fails for a remote shell whose quoting is wrong.
pub(super) fn of_url(
    path: &SftpPath<'_>,
    options: &HostOptions,
) -> Result<SftpSettings, ShellError> {
    let mut command = ssh_words(options)?;
    if let Some(port) = path.port {
        command.extend(["-p".to_owned(), port.to_string()]);
    }
    command.extend(["-s".to_owned(), path.door.clone(), "sftp".to_owned()]);
    Ok(settings(path.head.to_owned(), command, options))
}

/// Returns ssh with its options. Compression is its own.
fn ssh_words(options: &HostOptions) -> Result<Vec<String>, ShellError> {
    let mut words = options.shell.shell_words()?;
    if options.compress {
        words.push("-C".to_owned());
    }
    Ok(words)
}

fn settings(name: String, command: Vec<String>, options: &HostOptions) -> SftpSettings {
    let connections_max = options.connections_max;
    let silence_max = REMOTE_SILENCE_MAX;
    let (requests_max, data_bytes_max) = (None, None);
    SftpSettings { name, command, connections_max, requests_max, data_bytes_max, silence_max }
}

/// Returns how the host of a remote is reached.
///
/// # Errors
/// Returns which key cannot be used, and what to do.
pub(super) fn of_remote(
    name: &str,
    remote: &OtherRemote<'_>,
    options: &HostOptions,
) -> Result<SftpSettings, Unreached> {
    for (key, why) in REFUSED {
        if remote.text(key)?.is_some_and(|value| value != "false") {
            return Err(remote.wrong(key, why).into());
        }
    }
    let mut command = match remote.text("ssh")? {
        Some(ssh) => split(&ssh).map_err(|why| remote.wrong("ssh", why.to_string()))?,
        None => ssh_command(remote, options)?,
    };
    if let Some(server) = remote.text("server_command")? {
        command.push(server);
    } else {
        let subsystem = remote.text("subsystem")?;
        let subsystem = subsystem.unwrap_or_else(|| "sftp".to_owned());
        command.extend(["-s".to_owned(), subsystem]);
    }
    let requests = remote.text("concurrency")?.map(|text| text.parse().ok().filter(|it| *it > 0));
    if requests == Some(None) {
        return Err(remote.wrong("concurrency", "write a number").into());
    }
    let data_bytes = remote.size("chunk_size")?;
    Ok(SftpSettings {
        requests_max: requests.flatten(),
        data_bytes_max: data_bytes.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)),
        ..settings(format!("{name}:"), command, options)
    })
}

/// Returns the command that reaches the host of a remote, up to the host.
fn ssh_command(remote: &OtherRemote<'_>, options: &HostOptions) -> Result<Vec<String>, Unreached> {
    let mut command = ssh_words(options)?;
    let options = [
        ("key_file", "-i", ""),
        ("pubkey_file", "-o", "CertificateFile="),
        ("known_hosts_file", "-o", "UserKnownHostsFile="),
        ("port", "-p", ""),
    ];
    for (key, option, keyword) in options {
        if let Some(value) = remote.text(key)? {
            command.extend([option.to_owned(), format!("{keyword}{value}")]);
        }
    }
    let host = remote.text("host")?.ok_or_else(|| remote.wrong("host", "it is missing"))?;
    let user = remote.text("user")?;
    // A name that begins so would be an option.
    for (key, value) in [("host", Some(&host)), ("user", user.as_ref())] {
        if value.is_some_and(|value| value.starts_with('-')) {
            return Err(remote.wrong(key, "it is malformed").into());
        }
    }
    command.push(user.map_or_else(|| host.clone(), |user| format!("{user}@{host}")));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Returns the settings of a remote with these keys.
    fn remote(keys: &[(&str, &str)]) -> Result<SftpSettings, Unreached> {
        let key = |(key, value): &(&str, &str)| {
            (format!("RCLONE_CONFIG_LAB_{}", key.to_uppercase()), (*value).to_owned())
        };
        let mut variables: BTreeMap<String, String> = keys.iter().map(key).collect();
        variables.insert("RCLONE_CONFIG".to_owned(), String::new());
        variables.insert("RCLONE_CONFIG_LAB_TYPE".to_owned(), "sftp".to_owned());
        let environment = |name: &str| variables.get(name).cloned();
        let found = OtherRemote::find("lab", "sftp", &environment).unwrap();
        of_remote("lab", &found, &HostOptions::default())
    }

    const ALIVE: &str = "-o ServerAliveInterval=15 -o ServerAliveCountMax=4";

    #[test]
    fn a_remote_becomes_a_command() {
        let command = |keys: &[(&str, &str)]| remote(keys).unwrap().command.join(" ");
        assert_eq!(command(&[("host", "h")]), format!("ssh {ALIVE} h -s sftp"));
        let all = [
            ("host", "h"),
            ("user", "u"),
            ("port", "2222"),
            ("key_file", "~/key"),
            ("known_hosts_file", "/known"),
            ("shell_type", "unix"),
            ("set_modtime", "true"),
        ];
        let expected =
            format!("ssh {ALIVE} -i ~/key -o UserKnownHostsFile=/known -p 2222 u@h -s sftp");
        assert_eq!(command(&all), expected);
        assert_eq!(command(&[("ssh", "ssh -p 22 'u@h'")]), "ssh -p 22 u@h -s sftp");
        let served = [("host", "h"), ("server_command", "sudo /usr/lib/sftp-server")];
        assert_eq!(command(&served), format!("ssh {ALIVE} h sudo /usr/lib/sftp-server"));
        let tuned = remote(&[("host", "h"), ("concurrency", "8"), ("chunk_size", "64Ki")]).unwrap();
        assert_eq!((tuned.requests_max, tuned.data_bytes_max), (Some(8), Some(64 << 10)));
    }

    #[test]
    fn what_is_not_supported_is_told() {
        for (keys, words) in [
            (&[("host", "h"), ("pass", "obscured")][..], "pass: passwords are not taken"),
            (&[("host", "h"), ("ask_password", "true")], "passwords are not taken"),
            (&[("host", "h"), ("key_file_pass", "x")], "ssh-add"),
            (&[("host", "h"), ("key_pem", "x")], "key_file"),
            (&[("host", "-oProxyCommand=x")], "malformed"),
            (&[("host", "h"), ("concurrency", "many")], "write a number"),
            (&[("user", "u")], "host: it is missing"),
        ] {
            let why = remote(keys).unwrap_err().to_string();
            assert!(why.contains(words) && !why.contains("obscured"), "{why}");
        }
        assert!(remote(&[("host", "h"), ("ask_password", "false")]).is_ok());
    }
}
