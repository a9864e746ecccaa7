from django.contrib.auth.models import AbstractUser
from django.db import models


class Member(AbstractUser):
    nickname = models.CharField(max_length=50, default="")
    sponsor = models.ForeignKey("self", models.SET_NULL, null=True)


class Profile(models.Model):
    user = models.OneToOneField("swapped.Member", models.CASCADE)
    motto = models.CharField(max_length=100)
