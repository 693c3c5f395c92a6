use patroni::{Endpoint, ParseEndpointError};

use super::{Value, Wrong};
use crate::tree::Node;

impl Value for Endpoint {
    fn expected() -> String {
        "a URL such as \"http://10.0.1.1:8008\" or \"https://[::1]:2379\"".to_owned()
    }

    fn read(node: &Node) -> Result<Self, Wrong> {
        let text = node.text().ok_or_else(Wrong::default)?;
        text.parse().map_err(|error| match error {
            ParseEndpointError::Scheme => Wrong::because("it must begin with http:// or https://"),
            ParseEndpointError::Login => Wrong::because("user and password have keys of their own"),
            ParseEndpointError::Host => Wrong::because("no host name or address"),
            ParseEndpointError::Port => Wrong::because("no port"),
            ParseEndpointError::TooLong => Wrong::because("it is too long"),
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}
