"""A page on this machine where photos are dropped: who may ask, what is answered, what is shown."""

from __future__ import annotations

from .access import Access
from .app import Service
from .server import Listener, listen, serve, server
from .worker import Offer, ServedMethods, Worker

__all__ = ["Access", "Listener", "Offer", "ServedMethods", "Service", "Worker", "listen", "serve", "server"]
