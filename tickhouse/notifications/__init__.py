"""Notifications: from topic `crypto.alerts` over RabbitMQ to the channels, once per channel."""
