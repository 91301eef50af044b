//! The addresses: what they are called, how they are changed, and whether they are free.
//!
//! It must never start anything on an address that somebody else uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::{Result, bail};
use clap::Args;

use super::settings::Settings;
use crate::config::has_stripe_key;

/// The options that move the addresses.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct Listen {
    /// Where the edge listens; port 0 takes any free one
    #[arg(long, env = "EDGE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8787", value_parser = address)]
    edge_listen: SocketAddr,
    /// Where the aggregator listens
    #[arg(long, env = "METER_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    aggregator_listen: SocketAddr,
    /// Where the demo upstream listens
    #[arg(
        long,
        env = "DEMO_UPSTREAM_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8090",
        value_parser = address
    )]
    upstream_listen: SocketAddr,
    /// Where the simulated Stripe listens; it is not started where STRIPE_SECRET_KEY is set
    #[arg(
        long,
        env = "FAKE_STRIPE_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:12111",
        value_parser = address
    )]
    stripe_listen: SocketAddr,
}

/// The addresses of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// The worker's.
    pub(crate) edge: SocketAddr,
    /// The aggregator's.
    pub(crate) aggregator: SocketAddr,
    /// The demo upstream's.
    pub(crate) upstream: SocketAddr,
    /// The simulated Stripe's, where there is one.
    pub(crate) stripe: Option<SocketAddr>,
}

impl Listen {
    /// Makes sure that the addresses are free and differ.
    pub(crate) fn check(&self) -> Result<Addresses> {
        // All are held until the last is known, so that two that are the same are noticed.
        let edge = bind("edge", "EDGE_LISTEN", "--edge-listen", self.edge_listen)?;
        let aggregator = bind("aggregator", "METER_LISTEN", "--aggregator-listen", self.aggregator_listen)?;
        let upstream = bind("upstream", "DEMO_UPSTREAM_LISTEN", "--upstream-listen", self.upstream_listen)?;
        let stripe = if has_stripe_key() {
            None
        } else {
            Some(bind("simulated Stripe", "FAKE_STRIPE_LISTEN", "--stripe-listen", self.stripe_listen)?)
        };
        Ok(Addresses {
            edge: edge.local_addr()?,
            aggregator: aggregator.local_addr()?,
            upstream: upstream.local_addr()?,
            stripe: stripe.map(|stripe| stripe.local_addr()).transpose()?,
        })
    }
}

impl Addresses {
    /// Makes sure that the addresses are free still.
    pub(crate) fn check_free(&self) -> Result<()> {
        let listen = Listen {
            edge_listen: self.edge,
            aggregator_listen: self.aggregator,
            upstream_listen: self.upstream,
            // Any free port will do where nothing is to listen.
            stripe_listen: self.stripe.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
        };
        listen.check().map(drop)
    }

    /// Writes the addresses as the programs expect them.
    pub(crate) fn write_to(&self, settings: &mut Settings) {
        for (listen, url, address) in [
            ("EDGE_LISTEN", "EDGE_URL", self.edge),
            ("METER_LISTEN", "AGGREGATOR_URL", self.aggregator),
            ("DEMO_UPSTREAM_LISTEN", "UPSTREAM_URL", self.upstream),
        ] {
            settings.set(listen, address.to_string());
            settings.set(url, format!("http://{}", reachable(address)));
        }
        if let Some(stripe) = self.stripe {
            settings.set("FAKE_STRIPE_LISTEN", stripe.to_string());
            settings.set("STRIPE_API_BASE", format!("http://{}", reachable(stripe)));
            let webhook = format!("http://{}/api/v1/stripe/webhook", reachable(self.aggregator));
            settings.set("FAKE_STRIPE_WEBHOOK", webhook);
            // Whoever has paid comes back to a page that is there, whichever port it has.
            settings.set("STRIPE_RETURN_URLS", format!("http://{}/", reachable(self.aggregator)));
        }
    }
}

/// The address at which this machine itself reaches a listener: one that listens everywhere is at loopback.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(loopback, address.port())
}

fn bind(who: &str, variable: &str, flag: &str, address: SocketAddr) -> Result<TcpListener> {
    match TcpListener::bind(address) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {} is taken: {address}, where the {who} would listen.\n\
             Stop what uses it, or choose another with {flag} 127.0.0.1:PORT or {variable}=127.0.0.1:PORT",
            address.port()
        ),
        Err(error) => bail!("the {who} cannot listen on {address} ({error}): change {flag} or {variable}"),
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_error| "expected an IP address and a port, such as 127.0.0.1:8787".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(edge: SocketAddr, aggregator: SocketAddr) -> Listen {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Listen { edge_listen: edge, aggregator_listen: aggregator, upstream_listen: any, stripe_listen: any }
    }

    #[test]
    fn a_taken_port_is_named_with_the_ways_to_change_it() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let holder = TcpListener::bind(any).unwrap();
        let taken = holder.local_addr().unwrap();
        for (listen, variable, flag) in [
            (listen(taken, any), "EDGE_LISTEN", "--edge-listen"),
            (listen(any, taken), "METER_LISTEN", "--aggregator-listen"),
        ] {
            let error = listen.check().unwrap_err().to_string();
            for part in [taken.port().to_string().as_str(), variable, flag] {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
        }
    }

    #[test]
    fn port_zero_becomes_three_different_ports() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let addresses = listen(any, any).check().unwrap();
        assert!(addresses.edge.port() != 0 && addresses.edge != addresses.aggregator);
        assert!(addresses.upstream != addresses.edge && addresses.upstream != addresses.aggregator);
    }

    #[test]
    fn customers_come_back_to_the_aggregator_wherever_it_listens() {
        let folder = std::env::temp_dir().join(format!("xtask-{}-return", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut settings = Settings::open(&folder).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let addresses = listen(any, address("0.0.0.0:0").unwrap()).check().unwrap();
        addresses.write_to(&mut settings);
        let port = addresses.aggregator.port();
        assert_eq!(settings.get("STRIPE_RETURN_URLS").unwrap(), format!("http://127.0.0.1:{port}/"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_listener_everywhere_is_reached_at_loopback() {
        for (listens, reached) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            assert_eq!(reachable(address(listens).unwrap()).to_string(), reached);
        }
        assert!(address("8787").is_err());
    }
}
