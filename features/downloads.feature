Feature: A download that is disturbed goes on, or ends without leaving anything broken

  @S17
  Scenario: A connection that breaks at 40 % is made again, and the download goes on from there
    Given the hub has "acme/honey" with a model of 12 MB as "honey.Q4_K_M.gguf"
    And the hub cuts honey.Q4_K_M.gguf off at 40 % once
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 0
    And stdout is not empty
    And stderr shows "40 %|39 %"
    And stderr shows "attempt 2 of 6 in 100 ms"
    And the hub was asked 2 times for honey.Q4_K_M.gguf
    And the hub was asked last for the rest of honey.Q4_K_M.gguf from 39 to 40 %
    And the hub has sent the bytes of honey.Q4_K_M.gguf once
    And the file of "hf:acme/honey:Q4_K_M" is what the hub has
    And the models folder has no rest of a download

  @S17
  Scenario: Six attempts are made, with growing waits
    Given the hub has "acme/honey" with the file "honey.Q4_K_M.gguf"
    And the hub resets every connection for honey.Q4_K_M.gguf
    And the time limit download_retry is 10ms
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "attempt 2 of 6 in 10 ms"
    And stderr shows "attempt 3 of 6 in 20 ms"
    And stderr shows "attempt 6 of 6 in 160 ms"
    And stderr shows "6 attempts"
    And stderr shows "DOWNLOAD_FAILED"
    And the hub was asked 6 times for honey.Q4_K_M.gguf
    And the catalog has no row of "hf:acme/honey:Q4_K_M"
    And the models folder has no model
    When I post this task for JSON:
      """
      {"model": "hf:acme/honey", "prompt": "hello"}
      """
    Then the answer is 500 with the code DOWNLOAD_FAILED

  @S37
  Scenario: The bar stands at 40 %, the cause is told, and the bar goes on from there
    Given the hub has "acme/honey" with a model of 12 MB as "honey.Q4_K_M.gguf"
    And the hub sends 6000 KB a second
    And the hub cuts honey.Q4_K_M.gguf off at 40 % once
    And a queen and a hive run
    When I start `rbee-keeper infer --model hf:acme/honey --prompt hello` on a terminal
    Then the exit code is 0
    And the terminal shows in order:
      | \b(39\|40) %                                                        |
      | the connection broke at (39\|40) %: attempt 2 of 6 in 100 ms         |
      | \b([5-9]\d\|100) %                                                 |
    And the hub has sent the bytes of honey.Q4_K_M.gguf once

  @S37
  Scenario: The connection breaks at 40 % each time: six attempts, then the end
    Given the hub has "acme/honey" with a model of 12 MB as "honey.Q4_K_M.gguf"
    And the hub cuts honey.Q4_K_M.gguf off at 40 % every time
    And the time limit download_retry is 10ms
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 1
    And stdout is empty
    And stderr tells in order:
      | downloading                |
      | the connection broke at    |
      | attempt 2 of 6 in 10 ms    |
      | attempt 3 of 6 in 20 ms    |
      | attempt 6 of 6 in 160 ms   |
      | did not come               |
      | DOWNLOAD_FAILED            |
    And stderr shows "broke at 40 %|broke at 39 %"
    And the hub was asked 6 times for honey.Q4_K_M.gguf
    And the hub was asked last for the rest of honey.Q4_K_M.gguf from 39 to 40 %

  @L013
  Scenario: A repository that the hub does not have
    Given a hub without models
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/nothing --prompt hello`
    Then the exit code is 1
    And stderr shows "hf:acme/nothing"
    And stderr shows "check"
    And the hub was asked 1 time for a listing
    When I post this task for JSON:
      """
      {"model": "hf:acme/nothing", "prompt": "hello"}
      """
    Then the answer is 404 with the code MODEL_NOT_FOUND

  Scenario: A variant that the repository does not have
    Given the hub has "acme/honey" with the files "honey.Q5_K_M.gguf, honey.Q8_0.gguf"
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 1
    And stderr shows "Q5_K_M"
    And stderr shows "Q8_0"
    And the hub was asked 1 time for a listing

  @L014
  Scenario: A repository that needs a token
    Given the hub has "acme/secret" for holders of the token "bee-token"
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/secret --prompt hello`
    Then the exit code is 1
    And stderr shows "HF_TOKEN"
    When I post this task for JSON:
      """
      {"model": "hf:acme/secret", "prompt": "hello"}
      """
    Then the answer is 403 with the code MODEL_ACCESS_DENIED

  @L014
  Scenario: The token opens the repository and is shown to nobody else
    Given the hub has "acme/secret" for holders of the token "bee-token"
    And my hub token is "bee-token"
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/secret --prompt hello`
    Then the exit code is 0
    And no token has reached the content host
    And stderr does not show "bee-token"

  @L015
  Scenario: A hub that sends nothing any more
    Given the hub has "acme/honey" with the file "honey.Q4_K_M.gguf"
    And the hub falls silent at 40 % of honey.Q4_K_M.gguf every time
    And the time limit download_stall is 1000ms
    And the time limit download_retry is 10ms
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "attempt 2 of 6"
    And stderr shows "6 attempts"
    And stderr shows "DOWNLOAD_TIMEOUT"
    And the hub was asked 6 times for honey.Q4_K_M.gguf
    And the models folder has no model
    And the models folder has a rest of a download
    When I post this task for JSON:
      """
      {"model": "hf:acme/honey", "prompt": "hello"}
      """
    Then the answer is 408 with the code DOWNLOAD_TIMEOUT

  @L016
  Scenario: A spoilt file is thrown away and fetched again
    Given the hub has "acme/honey" with the file "honey.Q4_K_M.gguf"
    And the hub spoils honey.Q4_K_M.gguf once
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story
    And stderr shows "attempt 2 of 6"
    And the hub was asked 2 times for honey.Q4_K_M.gguf
    And the file of "hf:acme/honey:Q4_K_M" is what the hub has

  @L016
  Scenario: A file that is spoilt every time never gets its name
    Given the hub has "acme/honey" with the file "honey.Q4_K_M.gguf"
    And the hub spoils honey.Q4_K_M.gguf every time
    And the time limit download_retry is 10ms
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "SHA-256|checksum"
    And the hub was asked 6 times for honey.Q4_K_M.gguf
    And the catalog has no row of "hf:acme/honey:Q4_K_M"
    And the models folder has no model
    And the models folder has no rest of a download

  @L017
  Scenario: A hive that is killed at 60 % leaves what it has to the next one
    Given the hub has "acme/honey" with a model of 40 MB as "honey.Q4_K_M.gguf"
    And the hub holds honey.Q4_K_M.gguf back at 60 %
    And a hive runs
    When I ask the hive to download "hf:acme/honey"
    And the hub has sent so much
    And the partial file holds 57 % of its model
    And the hive is killed
    Then the models folder has no model
    When the hub goes on
    And the hub's log is cleared
    Given a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 0
    And stdout is not empty
    And stderr shows "resuming hf:acme/honey"
    And stderr shows "at 60 %|at 59 %|at 58 %|at 57 %"
    And the hub was asked 1 times for honey.Q4_K_M.gguf
    And the hub was asked last for the rest of honey.Q4_K_M.gguf from 57 to 60 %
    And the file of "hf:acme/honey:Q4_K_M" is what the hub has
    And the models folder has no rest of a download

  @L017
  Scenario: A client does not even notice that the hive was killed
    Given the hub has "acme/honey" with a model of 40 MB as "honey.Q4_K_M.gguf"
    And the hub holds honey.Q4_K_M.gguf back at 60 %
    And a queen and a hive run
    When I start `rbee-keeper infer --model hf:acme/honey --prompt hello`
    And the hub has sent so much
    And the partial file holds 57 % of its model
    And the hive is killed
    And the hub goes on
    Then the exit code is 0
    And stdout is not empty
    And stderr shows "resuming hf:acme/honey"
    And the hub was asked last for the rest of honey.Q4_K_M.gguf from 57 to 60 %
    And the file of "hf:acme/honey:Q4_K_M" is what the hub has

  Scenario: Ctrl+C while a model comes keeps what is there
    Given the hub has "acme/honey" with a model of 40 MB as "honey.Q4_K_M.gguf"
    And the hub holds honey.Q4_K_M.gguf back at 60 %
    And a queen and a hive run
    When I start `rbee-keeper infer --model hf:acme/honey --prompt hello`
    And the hub has sent so much
    And the partial file holds 57 % of its model
    And I press Ctrl+C
    Then the exit code is 130
    And the models folder has a rest of a download
    And the models folder has no model
    When the hub goes on
    And the hub's log is cleared
    And I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 0
    And stderr shows "resuming"
    And the hub was asked last for the rest of honey.Q4_K_M.gguf from 57 to 60 %

  @L020
  Scenario: A disk that is too small is noticed before the first byte
    Given the hub has "acme/honey" with a model of 40 MB as "honey.Q4_K_M.gguf"
    And a machine with 25 MB of free disk
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 1
    And stderr shows "40 MB"
    And stderr shows "25 MB"
    And stderr shows "15 MB"
    And stderr shows "models rm"
    And the hub was asked 0 times for honey.Q4_K_M.gguf
    When I post this task for JSON:
      """
      {"model": "hf:acme/honey", "prompt": "hello"}
      """
    Then the answer is 507 with the code INSUFFICIENT_DISK
    And the answer's details have:
      """
      {"required": 40, "available": 25, "missing": 15}
      """

  @L021
  Scenario: A disk that becomes full while a model comes
    Given the hub has "acme/honey" with a model of 40 MB as "honey.Q4_K_M.gguf"
    And a disk of 12 MB for the models
    And a machine with 400000 MB of free disk
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 1
    And stdout is empty
    And stderr shows "full"
    And the models folder has no rest of a download
    And the models folder has no model
    And the hive still runs
    When I post this task for JSON:
      """
      {"model": "hf:acme/honey", "prompt": "hello"}
      """
    Then the answer is 507 with the code DISK_FULL
    When I run `rbee-keeper infer --prompt hello`
    Then the exit code is 0

  @L022
  Scenario: A broken catalog is put aside, and nobody is stopped by it
    Given the hive's catalog file is full of garbage
    And a queen and a hive run
    Then a backup of the broken catalog is kept
    And its log shows "models.db.corrupt.backup"
    When I run `rbee-keeper infer --prompt "write a short story" --temperature 0`
    Then the exit code is 0
    And stdout is the greedy story

  @L022
  Scenario: What was downloaded is found again after the catalog has broken
    Given the hub has "acme/honey" with the file "honey.Q4_K_M.gguf"
    And a queen and a hive run
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 0
    When the hive gets SIGTERM
    Then the hive ends with the exit code 0
    Given the hive's catalog file is full of garbage
    And a hive runs
    When the hub's log is cleared
    And the catalog comes to have "hf:acme/honey:Q4_K_M"
    And I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 0
    And the hub was asked for nothing

  @L023
  Scenario: A catalog that cannot be opened is an answer, not the end of the hive
    Given a folder is where the hive's catalog file has to be
    And a hive runs
    Then GET /v1/models/list of the hive answers 503 with the code CATALOG_UNAVAILABLE
    And the hive still runs
    Given the folder has gone from the place of the hive's catalog file
    Then the catalog comes to have "builtin:honeycomb"
    And the hive still runs

  @L025
  Scenario: A limited download is shown as one
    Given the hub has "acme/honey" with a model of 6 MB as "honey.Q4_K_M.gguf"
    And a configuration file that says:
      """
      [limits]
      download_mb_per_s = 4
      """
    And a queen and a hive run
    When I ask the hive to download "hf:acme/honey"
    And I follow the download
    Then the download tells "downloading" and ends with "complete"
    And the download was shown as throttled
    And the download took at least 1000 ms
    When I run `rbee-keeper infer --model hf:acme/honey --prompt hello`
    Then the exit code is 0
