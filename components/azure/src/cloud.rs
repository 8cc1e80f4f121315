//! The clouds of Azure, and where their services are.

/// One of the clouds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cloud {
    /// The one for everybody.
    #[default]
    Public,
    /// The one in China.
    China,
    /// The one of the government of the United States.
    Government,
}

// === impl Cloud ===

impl Cloud {
    /// The cloud of a name; none if there is no such cloud.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "" | "azurepubliccloud" | "azurepublic" => Some(Self::Public),
            "azurechinacloud" | "azurechina" => Some(Self::China),
            "azureusgovernmentcloud" | "azureusgovernment" => Some(Self::Government),
            _ => None,
        }
    }

    /// Who gives tokens.
    pub(crate) const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.chinacloudapi.cn",
            Self::Government => "https://login.microsoftonline.us",
        }
    }

    /// Domain below which storage accounts are, behind `<account>.<service>.`.
    pub(crate) const fn storage(self) -> &'static str {
        match self {
            Self::Public => "core.windows.net",
            Self::China => "core.chinacloudapi.cn",
            Self::Government => "core.usgovcloudapi.net",
        }
    }

    /// Domain below which key vaults are.
    pub(crate) const fn vault(self) -> &'static str {
        match self {
            Self::Public => "vault.azure.net",
            Self::China => "vault.azure.cn",
            Self::Government => "vault.usgovcloudapi.net",
        }
    }
}
