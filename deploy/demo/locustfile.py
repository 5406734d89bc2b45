"""A steady load: every simulated customer asks for three pages a second."""

from locust import HttpUser, constant_throughput, task


class Customer(HttpUser):
    wait_time = constant_throughput(3)

    @task(1)
    def items(self):
        self.client.get("/api/items")

    @task(2)
    def checkout(self):
        self.client.get("/api/checkout")
