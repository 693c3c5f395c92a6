"""Django's ORM with its defaults: a connection for each request, migrations, cursors on the server for iterators."""

import os
import threading

import django
from django.conf import settings

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
            "USER": os.environ["PGUSER"],
            "PASSWORD": os.environ["PGPASSWORD"],
            "NAME": os.environ["PGDATABASE"],
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.postgres"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    TIME_ZONE="Europe/Berlin",
)
django.setup()

from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.contrib.postgres.fields import ArrayField  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DataError, IntegrityError, ProgrammingError, connection, models, transaction  # noqa: E402

from checks import Checks, equal, raises  # noqa: E402

checks = Checks(f"Django {django.__version__}")
CLIENTS = 24


class Product(models.Model):
    name = models.CharField(max_length=50, unique=True)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.IntegerField(default=0)
    tags = ArrayField(models.TextField(), default=list)
    about = models.JSONField(default=dict)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "shop"
        constraints = [models.CheckConstraint(condition=models.Q(stock__gte=0), name="stock_is_not_negative")]


@checks.add("migrations, and again when there is nothing left to do")
def _():
    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0)
    assert Permission.objects.count() > 5
    with connection.schema_editor() as editor:
        editor.create_model(Product)
    assert "shop_product" in connection.introspection.table_names()
    connection.close()


@checks.add("objects are written, changed, found and deleted")
def _():
    user = User.objects.create_user("ann", "ann@example.org", "secret")
    group = Group.objects.create(name="editors")
    user.groups.add(group)
    group.permissions.set(Permission.objects.all()[:3])
    equal(User.objects.filter(groups__name="editors").get().username, "ann")
    equal(Permission.objects.filter(group__user=user).count(), 3)
    Product.objects.bulk_create([Product(name=f"p{n}", price=n, stock=n, tags=[str(n)], about={"n": n}) for n in range(2000)])
    equal(Product.objects.filter(about__n__lt=10, tags__contains=["7"]).get().name, "p7")
    equal(Product.objects.aggregate(sum=models.Sum("stock"))["sum"], 1999000)
    Product.objects.filter(name="p7").update(stock=models.F("stock") + 5)
    equal(Product.objects.get(name="p7").stock, 12)
    product, made = Product.objects.update_or_create(name="p8", defaults={"price": 3})
    equal((made, product.price), (False, 3))
    equal(Product.objects.filter(stock__gte=1990).delete()[0], 10)
    equal(Product.objects.raw("select * from shop_product where name = %s", ["p9"])[0].stock, 9)
    connection.close()


@checks.add("iterators, in transactions and outside")
def _():
    equal(sum(1 for _ in Product.objects.iterator(chunk_size=100)), 1990)
    with transaction.atomic():
        equal(sum(1 for _ in Product.objects.iterator(chunk_size=100)), 1990)
    # Two at a time, one of them left half-way.
    first, second = (Product.objects.order_by("id").iterator(chunk_size=50) for _ in range(2))
    for _ in range(120):
        equal(next(first).id, next(second).id)
    del first
    equal(sum(1 for _ in second), 1870)
    connection.close()


@checks.add("atomic blocks, savepoints and errors")
def _():
    done = []
    with transaction.atomic():
        Product.objects.create(name="kept", price=1)
        try:
            with transaction.atomic():
                Product.objects.create(name="kept", price=2)
        except IntegrityError:
            done.append("refused")
        transaction.on_commit(lambda: done.append("committed"))
        locked = Product.objects.select_for_update(skip_locked=True).get(name="kept")
        locked.stock = 5
        locked.save(update_fields=["stock"])
    equal(done, ["refused", "committed"])
    raises(IntegrityError, lambda: Product.objects.filter(name="kept").update(stock=-1))
    raises(DataError, lambda: Product.objects.create(name="x" * 60, price=1))
    raises(ProgrammingError, lambda: list(Product.objects.extra(where=["nonsense = 1"])))
    equal(Product.objects.get(name="kept").stock, 5)
    connection.close()


@checks.add("more requests at a time than server connections")
def _():
    errors = []
    Product.objects.create(name="counted", price=1)
    connection.close()

    def request(worker):
        try:
            for n in range(8):
                with transaction.atomic():
                    counted = Product.objects.select_for_update().get(name="counted")
                    counted.stock += 1
                    counted.save()
                made = Product.objects.create(name=f"w{worker}-{n}", price=n, stock=worker)
                equal(Product.objects.get(pk=made.pk).stock, worker)
                # As at the end of a request with CONN_MAX_AGE = 0.
                connection.close()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=request, args=(worker,)) for worker in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    with transaction.atomic():
        equal(Product.objects.get(name="counted").stock, CLIENTS * 8)
    connection.close()


@checks.add("times are in the zone that is configured, on connections that are kept too")
def _():
    connection.settings_dict["CONN_MAX_AGE"] = None
    product = Product.objects.create(name="timed", price=1)
    for _ in range(10):
        equal(Product.objects.get(pk=product.pk).created, product.created)
        with connection.cursor() as cursor:
            cursor.execute("show timezone")
            equal(cursor.fetchone(), ("UTC",))
    connection.close()


if __name__ == "__main__":
    checks.main()
