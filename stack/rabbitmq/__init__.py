"""RabbitMQ: the queues of the notifications."""
