"""CloudHub: the edges' way in. Enrolment over HTTPS, one WebSocket connection per node."""
