//! Routes: the user's number encodes the client, the time encodes the sequence number, and the longitude is a hash of
//! the other values.

use super::{Client, decimal, double, hash};

const FIRST_SECOND: i64 = 1_600_000_000;
/// The number of users per client. Several users spread a client's events over several partitions.
const USERS_OF_A_CLIENT: i64 = 16;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    user: i64,
    time_us: i64,
    latitude_millionths: i64,
}

/// A row of `routes_table`: user, time in microseconds since the Unix epoch, latitude, longitude.
pub(crate) type Row = (i64, i64, f64, f64);

impl Route {
    pub(crate) fn new(client: &Client, sequence: u64) -> Self {
        let random = |of_what, below: u64| i64::try_from(client.random(sequence, of_what) % below).unwrap();
        let number = i64::try_from(sequence).unwrap();
        Self {
            user: i64::from(client.number) * USERS_OF_A_CLIENT + random("user", USERS_OF_A_CLIENT.unsigned_abs()),
            time_us: (FIRST_SECOND + number) * 1_000_000 + random("fraction", 1_000_000),
            latitude_millionths: random("latitude", 180_000_001) - 90_000_000,
        }
    }

    pub(crate) fn json(&self) -> String {
        let (latitude, longitude) = (decimal(self.latitude_millionths), decimal(self.longitude_millionths()));
        format!(
            r#"{{"userID":{},"timestamp":{},"coordinates":[{latitude},{longitude}]}}"#,
            self.user,
            decimal(self.time_us)
        )
    }

    pub(crate) fn row(&self) -> Row {
        let longitude = double(self.longitude_millionths());
        (self.user, self.time_us, double(self.latitude_millionths), longitude)
    }

    /// Returns the longitude, which is a hash of the other values.
    fn longitude_millionths(&self) -> i64 {
        let hash = hash(&(self.user, self.time_us, self.latitude_millionths));
        i64::try_from(hash % 360_000_001).unwrap() - 180_000_000
    }
}

/// Decodes the client and the sequence number from a row. Returns `None` if one of the two is out of range.
pub(crate) fn origin((user, time_us, _, _): &Row) -> Option<(u32, u64)> {
    let client = u32::try_from(user.div_euclid(USERS_OF_A_CLIENT)).ok()?;
    let sequence = u64::try_from(time_us.div_euclid(1_000_000) - FIRST_SECOND).ok()?;
    Some((client, sequence))
}
